"""Guesses among numbered answers that the objective itself has made up: their loss and how many are right."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from reuse.data.rows import Batch
from reuse.objectives.objective import Network, Objective, add_up, count_rows
from reuse.seeding import seed_everything, untouched_random_state


class Guessing(Objective):
    """The cross-entropy of guesses; a method builds the network that makes them.

    The network takes rows and returns logits `(guesses, answers)` and the true answers `(guesses,)`, int64.
    """

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over guesses."""
        logits, answers = network(batch.inputs[0])
        return {"loss": cross_entropy(logits, answers)}

    def tally(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return sums over rows, of which each counts alike; what is drawn for them is the same each time."""
        with untouched_random_state():
            seed_everything(0)
            logits, answers = network(batch.inputs[0])
        rows = count_rows(batch)
        share = rows / len(answers)  # where a row is several guesses
        return {
            "rows": rows,
            "loss": add_up(cross_entropy(logits, answers, reduction="none")) * share,
            "right": (logits.argmax(1) == answers).sum() * share,
        }

    def metrics(self, tally: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss` and `accuracy`."""
        return {"loss": float(tally["loss"] / tally["rows"]), "accuracy": float(tally["right"] / tally["rows"])}
