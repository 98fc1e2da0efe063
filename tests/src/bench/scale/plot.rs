//! The curves as pictures, for docs/performance.md. Measurements: they differ from machine to machine, and no test compares them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use super::{
    super::machine,
    cpus, events,
    threads::{self, Cost},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Blue, orange, green: told apart by those who see no red or no green as well, on white.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];
const INK: RGBColor = RGBColor(34, 34, 34);
const PANEL: (u32, u32) = (380, 320);
const FOOT: u32 = 24;

/// One line.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// One diagram.
struct Panel {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// The axis of x is one of doublings; points at 0 have no place there.
    logarithmic: bool,
    lines: Vec<Line>,
}

/// Draws all curves into docs/pictures.
pub fn draw(events: &[events::Step], threads: &[Cost], cpus: &[cpus::Cost]) -> Result<()> {
    let folder = xtask::shell::root().join("docs/pictures");
    for (name, panels) in [("events", of_events(events)), ("threads", of_threads(threads)), ("cpus", of_cpus(cpus))] {
        let path = folder.join(format!("scale-{name}.svg"));
        picture(&path, &panels).with_context(|| format!("cannot draw {}", path.display()))?;
        println!("Drawn: {}", path.display());
    }
    Ok(())
}

fn line<T>(name: &'static str, all: &[T], x: impl Fn(&T) -> f64, y: impl Fn(&T) -> f64) -> Line {
    Line { name, points: all.iter().map(|one| (x(one), y(one))).collect() }
}

fn of_events(steps: &[events::Step]) -> Vec<Panel> {
    let wanted = |step: &events::Step| step.wanted;
    let share = |step: &events::Step| 100.0 * (1.0 - step.received / step.wanted.max(f64::MIN_POSITIVE));
    let panel = |title, y, lines| Panel { title, x: "million records wanted a second", y, logarithmic: false, lines };
    vec![
        panel(
            "CPU of numatrace",
            "% of a core",
            vec![
                line("engine", steps, wanted, |step| step.engine * 100.0),
                line("drain threads", steps, wanted, |step| step.drain * 100.0),
            ],
        ),
        panel("Received", "million records a second", vec![line("received", steps, wanted, |step| step.received)]),
        panel("Lost, and counted", "% of the records wanted", vec![line("lost", steps, wanted, share)]),
    ]
}

fn of_threads(costs: &[threads::Cost]) -> Vec<Panel> {
    let count = |cost: &Cost| f64::from(cost.threads);
    let panel = |title, y, lines| Panel { title, x: "threads", y, logarithmic: true, lines };
    vec![
        panel("Decoder and model", "ns a record", vec![line("a record", costs, count, |cost| cost.record_ns)]),
        panel(
            "One tick",
            "ms of a core",
            vec![
                line("totals", costs, count, |cost| cost.totals_ms),
                line("snapshot", costs, count, |cost| cost.snapshot_ms),
                line("dashboard", costs, count, |cost| cost.dashboard_ms),
            ],
        ),
        panel(
            "Memory, heap",
            "MB",
            vec![
                line("model", costs, count, |cost| cost.model_mb),
                line("and a snapshot", costs, count, |cost| cost.tick_mb),
                line("and the dashboard", costs, count, |cost| cost.dashboard_mb),
            ],
        ),
    ]
}

fn of_cpus(costs: &[cpus::Cost]) -> Vec<Panel> {
    let count = |cost: &cpus::Cost| f64::from(cost.cpus);
    let panel = |title, y, lines| Panel { title, x: "CPUs", y, logarithmic: true, lines };
    vec![
        panel(
            "Merge of all lanes",
            "ns a record",
            vec![
                line("merge", costs, count, |cost| cost.merge_ns),
                line("copying alone", costs, count, |cost| cost.copy_ns),
            ],
        ),
        panel("Snapshot, 1,000 threads", "ms of a core", vec![line("snapshot", costs, count, |cost| cost.snapshot_ms)]),
        panel("Rings and lanes", "MB in the kernel", vec![line("rings and lanes", costs, count, |cost| cost.lanes_mb)]),
    ]
}

fn picture(path: &Path, panels: &[Panel]) -> Result<()> {
    let mut svg = String::new();
    {
        let size = (PANEL.0 * panels.len() as u32, PANEL.1 + FOOT);
        let all = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let done = (|| {
            all.fill(&WHITE).map_err(|error| error.to_string())?;
            let (top, foot) = all.split_vertically(PANEL.1.cast_signed());
            for (area, panel) in top.split_evenly((1, panels.len())).iter().zip(panels) {
                diagram(area, panel)?;
            }
            let day = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
            let words = format!("{day}, {} cargo xtask bench --plot", machine());
            let style = ("sans-serif", 12).into_font().color(&INK);
            foot.draw(&Text::new(words, (12, 4), style)).map_err(|error| error.to_string())?;
            all.present().map_err(|error| error.to_string())
        })();
        done.map_err(|error: String| anyhow!(error))?;
    }
    Ok(fs::write(path, svg)?)
}

fn diagram(area: &Area<'_>, panel: &Panel) -> Result<(), String> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let top = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    // Several lines have names, which lie above them.
    let room = if panel.lines.len() > 1 { 1.5 } else { 1.1 };
    let (right, high) = (top(&mut points().map(|point| point.0)), top(&mut points().map(|point| point.1)) * room);
    let left = points().map(|point| point.0).fold(right, f64::min);
    let mut builder = ChartBuilder::on(area);
    builder.caption(panel.title, ("sans-serif", 16).into_font().color(&INK));
    builder.margin(10).x_label_area_size(36).y_label_area_size(54);
    // The two kinds of axis are two types.
    macro_rules! draw {
        ($axis:expr) => {{
            let mut chart = builder.build_cartesian_2d($axis, 0.0..high).map_err(|error| error.to_string())?;
            let label = |value: &f64| number(*value);
            let mut mesh = chart.configure_mesh();
            mesh.x_desc(panel.x).y_desc(panel.y).x_labels(6).y_labels(6);
            mesh.x_label_formatter(&label).y_label_formatter(&label);
            mesh.axis_style(INK).light_line_style(WHITE).bold_line_style(RGBColor(220, 220, 220));
            mesh.label_style(("sans-serif", 12).into_font().color(&INK));
            mesh.draw().map_err(|error| error.to_string())?;
            for (line, colour) in panel.lines.iter().zip(COLOURS) {
                let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(3);
                let drawn = chart.draw_series(series).map_err(|error| error.to_string())?;
                if panel.lines.len() > 1 {
                    let sample =
                        move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2));
                    drawn.label(line.name).legend(sample);
                }
            }
            if panel.lines.len() > 1 {
                let mut legend = chart.configure_series_labels();
                legend
                    .position(SeriesLabelPosition::UpperLeft)
                    .background_style(WHITE)
                    .border_style(RGBColor(200, 200, 200));
                legend.label_font(("sans-serif", 12).into_font().color(&INK));
                legend.draw().map_err(|error| error.to_string())?;
            }
        }};
    }
    if panel.logarithmic {
        draw!((left.max(1.0)..right).log_scale());
    } else {
        draw!(0.0..right);
    }
    Ok(())
}

/// As short as it can be.
fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1e3)
    } else if value >= 10.0 || value == value.trunc() {
        format!("{value:.0}")
    } else {
        format!("{value:.2}").trim_end_matches('0').to_owned()
    }
}
