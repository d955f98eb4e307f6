"""Writes the Grafana dashboards: `python -m dashboards.build [FOLDER]`, by default into dashboards/grafana.

What is committed there is what this writes; a test holds that. Every query names metrics of `daemon.sinks.metrics` or
of `prometheus/recording.yml`. The data source is a variable, so that a dashboard works wherever it is imported.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.common import StackingConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh, VariableSort

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
NODE = 'instance=~"$instance"'
CALL = f'{NODE}, session=~"$session"'
HEIGHT, HALF, WHOLE = 8, 12, 24
RATIO, SECONDS, PER_SECOND, COUNT, AGO = "percentunit", "s", "cps", "short", "dateTimeFromNow"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: Says what is seen.
        text: Says how to read it.
        unit: Of Grafana.
        queries: PromQL and the name of its series.
        kind: `line`, `stack`, `number` or `states`.
        span: Width, of 24.
        is_share: Whether values are from 0 to 1.
    """

    title: str
    text: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "line"
    span: int = HALF
    is_share: bool = False

    def build(self) -> timeseries.Panel | stat.Panel | statetimeline.Panel:
        """For Grafana."""
        panel: timeseries.Panel | stat.Panel | statetimeline.Panel
        if self.kind == "number":
            panel = stat.Panel()
        elif self.kind == "states":
            panel = statetimeline.Panel()
        else:
            panel = timeseries.Panel().fill_opacity(80 if self.kind == "stack" else 10).line_width(1)
            if self.kind == "stack":
                panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
        panel = panel.title(self.title).description(self.text).unit(self.unit).datasource(SOURCE)
        panel = panel.span(self.span).height(4 if self.kind == "number" else HEIGHT)
        if self.is_share:
            panel = panel.min(0).max(1)
        for letter, (expression, legend) in zip("ABCDEFGH", self.queries, strict=False):
            query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter).datasource(SOURCE)
            panel = panel.with_target(query.instant() if self.kind == "number" else query.range())
        return panel


def rate(metric: str, by: str) -> str:
    """Events per second of a counter, by a label."""
    return f"sum by ({by}) (rate({metric}{{{NODE}}}[$__rate_interval]))"


def quantile(q: float, metric: str, by: str = "") -> str:
    """A quantile of a histogram in seconds."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{NODE}}}[$__rate_interval])))"


OPERATIONS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            Panel(
                "Scraped",
                "1: attuned answers.",
                COUNT,
                ((f'up{{job="attuned", {NODE}}}', "{{instance}}"),),
                "number",
                4,
            ),
            Panel(
                "Participants",
                "In all running sessions.",
                COUNT,
                ((f"sum(attuned_participants{{{NODE}}})", ""),),
                "number",
                4,
            ),
            Panel(
                *("Newest frame", "When it was taken; it stands still when a source is lost.", AGO),
                ((f"max(attuned_last_frame_timestamp_seconds{{{NODE}}}) * 1000", ""),),
                *("number", 4),
            ),
            Panel(
                "Waiting events",
                "For the broker, on disk.",
                COUNT,
                ((f"sum(attuned_mqtt_outbox_messages{{{NODE}}})", ""),),
                "number",
                4,
            ),
            Panel("Version", "Of attuned.", COUNT, ((f"attuned_build_info{{{NODE}}}", "{{version}}"),), "number", 4),
            Panel("Models", "In use.", COUNT, ((f"attuned_model_info{{{NODE}}}", "{{model}}"),), "number", 4),
        ),
    ),
    (
        "Latency",
        (
            Panel(
                "End of a second to its readings",
                "The contract's latency. Above 1 s for 5 minutes: AttunedLatencyHigh.",
                SECONDS,
                tuple((quantile(q, "attuned_second_end_to_publish_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.95)),
            ),
            Panel(
                "Stages, 95th percentile",
                "Time for one frame in each stage.",
                SECONDS,
                ((quantile(0.95, "attuned_stage_duration_seconds", "stage"), "{{stage}}"),),
            ),
        ),
    ),
    (
        "Throughput and drops",
        (
            Panel(
                "Throughput",
                "Frames taken from sources, and faces read by both models, per second.",
                PER_SECOND,
                (
                    (f"sum(rate(attuned_frames_received_total{{{NODE}}}[$__rate_interval]))", "frames"),
                    (f"sum(rate(attuned_faces_analysed_total{{{NODE}}}[$__rate_interval]))", "faces"),
                ),
            ),
            Panel(
                "Dropped",
                "Frames or readings that were not used, per second. slow, late, undecoded: the machine falls behind.",
                PER_SECOND,
                ((rate("attuned_frames_dropped_total", "reason"), "{{reason}}"),),
                "stack",
            ),
            Panel(
                "Share dropped",
                "Because the machine falls behind. Above 10 % for 5 minutes: AttunedDropsHigh.",
                RATIO,
                ((f"attuned:frames_dropped:ratio_5m{{{NODE}}}", "{{instance}}"),),
            ),
            Panel(
                "Connections lost",
                "And sought again, in the last hour.",
                COUNT,
                ((f"sum by (component) (increase(attuned_reconnects_total{{{NODE}}}[1h]))", "{{component}}"),),
            ),
        ),
    ),
    (
        "Broker",
        (
            Panel(
                "MQTT messages",
                "By what became of them. discarded: events beyond the outbox's bounds, lost.",
                PER_SECOND,
                ((rate("attuned_mqtt_published_total", "result"), "{{result}}"),),
                "stack",
            ),
            Panel(
                "Outbox",
                "Events that wait for the broker.",
                COUNT,
                ((f"attuned_mqtt_outbox_messages{{{NODE}}}", "{{instance}}"),),
            ),
        ),
    ),
    (
        "Training",
        (
            Panel(
                "Personal models",
                "By what became of them, in the last day. rejected is the gate at work; failed is a defect.",
                COUNT,
                ((f"sum by (result) (increase(attuned_personal_models_total{{{NODE}}}[1d]))", "{{result}}"),),
                span=WHOLE,
            ),
        ),
    ),
)
CALLS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Group, from three members on; apparent expressions, not what people feel",
        (
            Panel(
                "Group emotion",
                "The mean distribution of the engaged members.",
                RATIO,
                ((f"attuned_group_emotion_ratio{{{CALL}}}", "{{session}} {{emotion}}"),),
                *("stack", WHOLE, True),
            ),
            Panel(
                "Synchrony",
                "How much members move at the same times, 0 to 1; no line while there is too little to tell.",
                RATIO,
                ((f"attuned_group_synchrony_ratio{{{CALL}}}", "{{session}}"),),
                is_share=True,
            ),
            Panel(
                "Group type",
                "Which of the four types the group is of: 1.",
                COUNT,
                ((f"attuned_group_type{{{CALL}}}", "{{session}} {{type}}"),),
                "states",
            ),
            Panel(
                "Participants",
                "Participants in all running sessions of the node; the contract has no figure per session.",
                COUNT,
                ((f"attuned_participants{{{NODE}}}", "{{instance}}"),),
            ),
            Panel(
                "Sessions",
                "How many are in which state; those that have ended as long as the API tells of them.",
                COUNT,
                ((f"sum by (state) (attuned_sessions{{{NODE}}})", "{{state}}"),),
                "stack",
            ),
        ),
    ),
)
SHEETS = {
    "attuned-operations": ("attuned: operations", "Latency, drops, throughput, sources, broker, training.", OPERATIONS),
    "attuned-calls": ("attuned: calls", "What groups express, second by second; individuals are never shown.", CALLS),
}


def build(uid: str) -> str:
    """The JSON of a dashboard."""
    title, text, rows = SHEETS[uid]
    sheet = grafana.Dashboard(title).uid(uid).description(text).tags(["attuned"]).refresh("5s").time("now-15m", "now")
    sheet = sheet.timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR).editable()
    sheet = sheet.with_variable(grafana.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    variables = [("instance", "Node", "label_values(attuned_build_info, instance)")]
    if rows is CALLS:
        variables.append(("session", "Session", "label_values(attuned_group_emotion_ratio, session)"))
    for name, label, query in variables:
        variable = (
            grafana.QueryVariable(name).label(label).query(query).datasource(SOURCE).include_all(include_all=True)
        )
        sheet = sheet.with_variable(
            variable.multi(multi=True)
            .all_value(".*")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
        )
    for heading, panels in rows:
        sheet = sheet.with_row(grafana.Row(heading))
        for panel in panels:
            sheet = sheet.with_panel(panel.build())
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(sheet.build())), indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Writes all dashboards into the folder that is named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "grafana"
    for uid in SHEETS:
        (folder / f"{uid}.json").write_text(build(uid), encoding="utf-8")


if __name__ == "__main__":
    main()
