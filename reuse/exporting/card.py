"""The card of an exported model, `README.md` in the form of Hugging Face: what it is, learned from, and is worth.

https://huggingface.co/docs/hub/model-cards
"""

from huggingface_hub import EvalResult, ModelCardData

from reuse.exporting.card_facts import code, facts_of, markdown_cell
from reuse.exporting.exportable import Exportable, Format
from reuse.exporting.serving import meaning_of_rows
from reuse.units import format_count
from reuse.version import __version__

KINDS = {"images": "image", "table": "tabular", "vectors": "tabular", "text": "text", "tokenized": "text"}
PIPELINES = {
    ("image", "classification"): "image-classification",
    ("tabular", "classification"): "tabular-classification",
    ("tabular", "regression"): "tabular-regression",
    ("text", "classification"): "text-classification",
}
MOST_CLASSES = 100  # that are named one by one


def model_card(source: Exportable, form: Format) -> str:
    """Return the text of a model's card.

    Args:
        source: the run.
        form: in which it is exported.
    """
    body = "\n\n".join([_opening(source), _usage(source, form), *facts_of(source)])
    return f"---\n{_header(source, form).to_yaml()}\n---\n\n{body}\n"


def _header(source: Exportable, form: Format) -> ModelCardData:
    told = source.result
    kind = KINDS.get(source.model.preprocessing.kind, "")
    split = next((name for name in ("test", "valid") if told["metrics"].get(name)), None)
    measured = told["metrics"][split] if split else {}
    pipeline = PIPELINES.get((kind, source.model.task))
    return ModelCardData(
        library_name=form.library,
        pipeline_tag=pipeline,
        tags=["reuse", "transfer-learning", source.model.task],
        model_name=source.name,
        eval_results=[
            EvalResult(
                task_type=pipeline or source.model.task,
                dataset_type=source.dataset,
                dataset_name=source.dataset,
                dataset_split=split,
                metric_type=name,
                metric_value=value,
            )
            for name, value in measured.items()
            if value is not None  # of what was no number
        ]
        or None,
    )


def _opening(source: Exportable) -> str:
    manifest, model = source.manifest, source.model
    what = (
        f"{len(model.classes)} classes"
        if model.task == "classification"
        else format_count(source.recipe.num_outputs, "output")
    )
    origin = f", fine-tuned from {code(manifest.source)}" if manifest.source else ""
    return (
        f"# {markdown_cell(source.name)}\n\nA {code(source.recipe.spec)} for {model.task} ({what}){origin}, trained on "
        f"{code(source.dataset)} with reuse {manifest.version or __version__}."
    )


def _usage(source: Exportable, form: Format) -> str:
    told = _graph(source) if form.is_graph else "Rows are prepared as `preprocessing` in the file's metadata says."
    return f"## How to use it\n\n{told}\n\n```python\n{form.usage(source).strip()}\n```"


def _graph(source: Exportable) -> str:
    served, meaning = source.served, markdown_cell(meaning_of_rows(source.model.preprocessing))
    rows = [f"- `{t.name}`: (rows, {', '.join(map(str, t.shape))}), {t.kind}" for t in served.inputs]
    listed = "\n".join([*rows, f"- gives `{served.output}`: {_outputs(source)}"])
    return f"It takes raw rows, any number at a time: {meaning}.\n\n{listed}"


def _outputs(source: Exportable) -> str:
    if source.model.task == "regression":
        return "(rows, outputs), in the targets' own units"
    named = ", ".join(markdown_cell(name) for name in source.model.classes[:MOST_CLASSES])
    more = ", …" if len(source.model.classes) > MOST_CLASSES else ""
    return f"(rows, {len(source.model.classes)}), in the order {named}{more}"
