"""`reuse doctor`."""

import click

from reuse.cli.options import JSON, Command
from reuse.cli.saying import announce, say


@click.command(cls=Command)
@click.option("--cache-dir", help="The cache folder to look at; by default $REUSE_CACHE or ./cache.")
@JSON
def doctor(cache_dir: str | None, as_json: bool) -> None:
    """Check versions, devices, data and folders; what is wrong stands behind "!" with what to do.

    Example: reuse doctor
    """
    announce(as_json=as_json)
    from dataclasses import asdict

    from reuse.cli.doctoring import examine
    from reuse.cli.printing import print_json
    from reuse.paths import cache_folder

    findings = examine(cache_folder(cache_dir))
    problems = [finding for finding in findings if finding.problem]
    if as_json:
        print_json({"ok": not problems, "findings": [asdict(finding) for finding in findings]})
        return
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        say(f"{finding.name.ljust(width)}  {finding.value}")
    for finding in problems:
        say(f"! {finding.name}: {finding.problem}")
