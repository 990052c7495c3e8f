"""The command `analyze`."""

import dataclasses

import click

from pinchpoint.clock import NS, SYSTEM_CLOCK, format_time
from pinchpoint.config import Config
from pinchpoint.output import HELP, Span, config_option, store_option
from pinchpoint.progress import progress
from pipelines.quiet import quiet_beam

JOB = "analyze"


@click.command(context_settings=HELP | {"ignore_unknown_options": True, "allow_interspersed_args": True})
@config_option
@store_option
@click.option("--since", type=Span(), metavar="SPAN", help="Analyse this much of the past, such as 1h or 7d.  "
              "[default: what is new since the last analysis]")
@click.option("--every", type=Span(), metavar="SPAN", help="Analyse again and again, with this long from start to start.")
@click.option("--runner", type=click.Choice(["direct", "prism", "flink", "spark", "dataflow"]), default="direct", show_default=True,
              help="Where the Beam job runs.")
@click.option("--index", "indices", multiple=True, metavar="PATTERN", help="Also read what others shipped into the Elasticsearch of "
              "--store, such as 'metricbeat-*'; may be repeated.")
@click.option("--mapping", type=click.Path(exists=True, dir_okay=False, resolve_path=True), metavar="FILE",
              help="What documents of others mean, beside what pinchpoint knows of them.")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[BEAM OPTIONS]")
def analyze(config: Config, store: str, since: float | None, every: float | None, runner: str, indices: tuple[str, ...],
            mapping: str | None, beam_options: tuple[str, ...]) -> None:
    """Find slowdowns and their causes in the records of a store.

    Reads what is new since the last analysis, reduces it to features, explains the runs it concerns and keeps the incidents in
    the store. Analysing the same records again changes nothing.

    \b
    Example: what came in during the last day, then every minute what is new
      pinchpoint analyze --since 1d
      pinchpoint analyze --every 1m

    \b
    Example: what Filebeat and Metricbeat shipped into a cluster
      pinchpoint analyze --index 'filebeat-*' --index 'metricbeat-*' \\
        --store https://es:9200
    """
    store = _with_others(store, indices, mapping)
    clock = SYSTEM_CLOCK
    due = clock.monotonic_s()
    while True:
        _once(config, store, since, runner, beam_options)
        if every is None:
            return
        since = None
        due += every
        clock.sleep(due - clock.monotonic_s())


def _with_others(store_url: str, indices: tuple[str, ...], mapping: str | None) -> str:
    """The URL of a store that also holds what others shipped into it."""
    if not indices and mapping is None:
        return store_url
    from pinchpoint.errors import UsageError
    from pinchpoint.store.es.address import Address

    if not store_url.startswith(("http://", "https://")):
        raise UsageError(f"--index and --mapping are for what lies in Elasticsearch, and the store is {store_url}: "
                         "name the server with --store https://…:9200")
    address = Address.parse(store_url)
    return str(Address.parse(str(dataclasses.replace(address, indices=(*address.indices, *indices), mapping=mapping or address.mapping))))


def _once(config: Config, store_url: str, since: float | None, runner: str, beam_options: tuple[str, ...]) -> None:
    """Analyse once, then move the watermark and tidy up."""
    quiet_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    from pinchpoint.store import IncidentFilter, open_store
    from pipelines import jobs, planning
    from pipelines.runs import Question

    store, now = open_store(store_url), SYSTEM_CLOCK.now_ns()
    watermark = store.watermark(JOB)
    start = None
    if since is not None:
        start = now - round(since * NS)
    elif watermark is not None:
        # records may come late: what falls into this stretch is reduced again, with the same result if nothing came
        start = watermark - round(config.analysis.lateness_s * NS)
    with progress("Analysing"):
        splits = planning.plan(store, planning.Span(start))
        reached = planning.reaches_to(splits)
        question = Question(config.analysis.window_s, config.analysis.min_slowdown, tuple(map(str, config.causes.paths)))
        if reached is not None:
            jobs.run(store_url, splits, question, PipelineOptions(list(beam_options)), runner)
            # a clock that went ahead must not hide what comes after
            watermark = max(watermark or 0, min(reached, now))
            store.set_watermark(JOB, watermark)
            # hours that nothing is expected for any more
            store.compact(watermark - round(config.analysis.lateness_s * NS))
            for kind, days in config.retention.days.items():
                # ages count from the newest record: looking at an old lake must not empty it
                store.retain(kind, min(reached, now) - round(days * 86400 * NS))
    for aside in store.set_aside():
        click.echo(f"Set aside: {aside.path}: {aside.reason}" + (f" ({aside.records:,} records)" if aside.records else ""), err=True)
    if reached is None:
        click.echo(f"Nothing to analyse in {store_url}" + (f" since {format_time(start)}." if start is not None else "."), err=True)
        return
    records = sum(split.records for kind in planning.REDUCED for split in splits[kind])
    found = store.query_incidents(IncidentFilter(since=start))
    click.echo(f"Analysed {records:,} records up to {format_time(min(reached, now))}: "
               f"{len(found)} incident{'s' if len(found) != 1 else ''}."
               + (" See them with: pinchpoint incidents" if found else ""), err=True)
