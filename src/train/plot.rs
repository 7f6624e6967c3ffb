//! Pictures of a run, as SVG. The only place that draws curves and points.
//!
//! Colours are those of Okabe & Ito, told apart under the common colour blindnesses. Black and yellow are left out and
//! all text is mid-grey on no background, so a picture reads on a light page and on a dark one.

use std::path::Path;

use plotters::coord::Shift;
use plotters::element::PointCollection;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};

/// Blue, vermillion, bluish green, reddish purple, orange, sky blue, grey.
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(140, 140, 140),
];

/// Text, axes: 4.6:1 on white, 4.1:1 on GitHub's dark page.
const INK: RGBColor = RGBColor(118, 118, 118);
const FONT: &str = "sans-serif";

/// Width and height of a panel below its head, in pixels; heights of the title and of a line of the legend.
const PANEL: (i32, i32) = (320, 222);
const TITLE: i32 = 28;
const LEGEND_LINE: i32 = 15;
/// Where the axis of a panel begins, and the length of a line in its legend.
const LEFT: i32 = 54;
const SAMPLE: i32 = 14;
/// A dash and the gap after it.
const DASH: (i32, i32) = (4, 3);

/// One line of a panel.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Name in the legend; no entry if empty.
    pub label: String,
    /// `(x, y)`, in rising x.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub stroke: Stroke,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stroke {
    /// In the next colour; with dots if it has few points.
    #[default]
    Solid,
    /// Thin and grey, to be compared with.
    Muted,
    /// Grey dashes: theory beside what was measured.
    Dashed,
}

/// One small chart of a figure.
#[derive(Debug, Clone, Default)]
pub struct Panel {
    /// What y is, above the chart.
    pub title: String,
    /// What x is, below it.
    pub x: String,
    /// Range of x; that of the lines if `None`.
    pub x_range: Option<(f64, f64)>,
    /// The lines.
    pub series: Vec<Series>,
    /// Horizontal marks to compare with, drawn dashed in grey.
    pub levels: Vec<(String, f64)>,
}

/// Draws `panels` in rows of `columns`.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
///
/// # Panics
/// If `columns` is 0.
pub fn figure(path: &Path, columns: usize, panels: &[Panel]) -> Result<()> {
    let rows = panels.len().div_ceil(columns);
    let legends: Vec<_> = panels.iter().map(legend).collect();
    let lines = legends.iter().flatten().map(|entry| entry.line + 1).max().unwrap_or(0);
    let head = TITLE + LEGEND_LINE * lines;
    write_svg(path, (PANEL.0 as u32 * columns as u32, (PANEL.1 + head) as u32 * rows as u32), |area| {
        for ((panel, legend), area) in panels.iter().zip(&legends).zip(area.split_evenly((rows, columns))) {
            let (head, chart) = area.split_vertically(head);
            draw_head(panel, legend, &head)?;
            draw_panel(panel, &chart)?;
        }
        Ok(())
    })
}

/// Draws groups of points, one colour and marker a group.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn scatter(path: &Path, title: &str, groups: &[Series]) -> Result<()> {
    write_svg(path, (720, 560), |area| draw_scatter(title, groups, area))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), String>;

fn write_svg(path: &Path, size: (u32, u32), draw: impl Fn(&Area<'_>) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)
            .and_then(|()| area.present().map_err(message))
            .map_err(|e| Error::Argument(format!("{}: {e}", path.display())))?;
    }
    super::run_dir::write_atomic(path, svg.as_bytes())
}

fn message(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn ink(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// An entry of a legend: which line it names, and where.
struct Entry<'a> {
    series: &'a Series,
    style: ShapeStyle,
    line: i32,
    x: i32,
}

/// The legend of a panel, filled like a text; empty if one line needs no name.
fn legend(panel: &Panel) -> Vec<Entry<'_>> {
    let named = styled(panel).filter(|(series, _)| panel.series.len() > 1 && !series.label.is_empty());
    let (mut line, mut x) = (0, LEFT);
    named
        .map(|(series, style)| {
            let width = SAMPLE + (5.8 * series.label.chars().count() as f64) as i32 + 18;
            if x > LEFT && x + width > PANEL.0 {
                (line, x) = (line + 1, LEFT);
            }
            x += width;
            Entry { series, style, line, x: x - width }
        })
        .collect()
}

/// The lines of a panel with their colours: only solid ones use up the palette.
fn styled(panel: &Panel) -> impl Iterator<Item = (&Series, ShapeStyle)> {
    let mut colors = PALETTE.iter().cycle();
    panel.series.iter().map(move |series| {
        let style = match series.stroke {
            Stroke::Solid => colors.next().unwrap_or(&INK).stroke_width(2),
            Stroke::Muted => INK.mix(0.4).stroke_width(1),
            Stroke::Dashed => INK.stroke_width(2),
        };
        (series, style)
    })
}

fn draw_head(panel: &Panel, legend: &[Entry<'_>], area: &Area<'_>) -> Drawn {
    let title = ink(15).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new(panel.title.clone(), (PANEL.0 / 2, 18), title)).map_err(message)?;
    for Entry { series, style, line, x } in legend {
        let y = TITLE + LEGEND_LINE / 2 + LEGEND_LINE * line;
        let gap = if series.stroke == Stroke::Dashed { DASH.1 } else { 0 };
        for (from, to) in [(*x, x + (SAMPLE - gap) / 2), (x + (SAMPLE + gap) / 2, x + SAMPLE)] {
            area.draw(&PathElement::new([(from, y), (to, y)], *style)).map_err(message)?;
        }
        let text = ink(11).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(series.label.clone(), (x + SAMPLE + 4, y), text)).map_err(message)?;
    }
    Ok(())
}

fn draw_panel(panel: &Panel, area: &Area<'_>) -> Drawn {
    let points = || panel.series.iter().flat_map(|s| s.points.iter().copied());
    let (x0, x1) = panel.x_range.unwrap_or_else(|| range(points().map(|p| p.0), 0.0));
    let (y0, y1) = range(points().map(|p| p.1).chain(panel.levels.iter().map(|l| l.1)), 0.08);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(16)
        .margin_top(2)
        .x_label_area_size(32)
        .y_label_area_size(46)
        .build_cartesian_2d(x0..x1, y0..y1)
        .map_err(message)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.18))
        .axis_style(INK)
        .label_style(ink(11))
        .x_desc(&panel.x)
        .axis_desc_style(ink(11))
        .x_labels(5)
        .y_labels(5)
        .x_label_formatter(&|v| tick(*v, x1 - x0))
        .y_label_formatter(&|v| tick(*v, y1 - y0))
        .draw()
        .map_err(message)?;
    for (label, level) in &panel.levels {
        chart
            .draw_series(DashedLineSeries::new(
                [(x0, *level), (x1, *level)],
                DASH.0,
                DASH.1,
                INK.stroke_width(1),
            ))
            .map_err(message)?;
        let style = ink(11).pos(Pos::new(HPos::Right, VPos::Bottom));
        chart.draw_series([Text::new(label.clone(), (x1, *level), style)]).map_err(message)?;
    }
    let sparse = points().count() < 40 * panel.series.len();
    for (series, style) in styled(panel) {
        let line = series.points.iter().copied();
        if series.stroke == Stroke::Dashed {
            chart.draw_series(DashedLineSeries::new(line, DASH.0, DASH.1, style)).map_err(message)?;
        } else {
            chart.draw_series(LineSeries::new(line, style)).map_err(message)?;
        }
        if sparse && series.stroke == Stroke::Solid {
            let dots = series.points.iter().map(|p| Circle::new(*p, 3, style.filled()));
            chart.draw_series(dots).map_err(message)?;
        }
    }
    Ok(())
}

fn draw_scatter(title: &str, groups: &[Series], area: &Area<'_>) -> Drawn {
    let points = || groups.iter().flat_map(|g| g.points.iter());
    let (x0, x1) = range(points().map(|p| p.0), 0.03);
    let (y0, y1) = range(points().map(|p| p.1), 0.03);
    let (plot, legend) = area.split_horizontally(590);
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .caption(title, ink(15))
        .build_cartesian_2d(x0..x1, y0..y1)
        .map_err(message)?;
    for (i, group) in groups.iter().enumerate() {
        chart.draw_series(group.points.iter().map(|p| marker(i, *p, 2))).map_err(message)?;
        let y = 50 + 22 * i as i32;
        legend.draw(&marker(i, (10, y), 5)).map_err(message)?;
        let style = ink(13).pos(Pos::new(HPos::Left, VPos::Center));
        legend.draw(&Text::new(group.label.clone(), (24, y), style)).map_err(message)?;
    }
    Ok(())
}

/// The marker of group `i`: the palette as circles, then again as triangles, then as crosses.
fn marker<'a, C: Clone + 'static>(i: usize, at: C, size: i32) -> DynElement<'static, SVGBackend<'a>, C>
where
    for<'b> &'b Circle<C, i32>: PointCollection<'b, C>,
    for<'b> &'b TriangleMarker<C, i32>: PointCollection<'b, C>,
    for<'b> &'b Cross<C, i32>: PointCollection<'b, C>,
{
    let color = PALETTE[i % PALETTE.len()];
    match i / PALETTE.len() % 3 {
        0 => Circle::new(at, size, color.filled()).into_dyn(),
        1 => TriangleMarker::new(at, size + 1, color.filled()).into_dyn(),
        _ => Cross::new(at, size, color.stroke_width(2)).into_dyn(),
    }
}

/// Smallest and largest value, widened by `pad` of the span; never empty.
fn range(values: impl Iterator<Item = f64>, pad: f64) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    match (low <= high, high - low) {
        (false, _) => (0.0, 1.0),
        (true, span) if span > 0.0 => (low - pad * span, high + pad * span),
        (true, _) => (low - 0.5, high + 0.5),
    }
}

/// A tick's text with the digits its axis needs.
fn tick(value: f64, span: f64) -> String {
    let digits = (1.0 - span.log10().floor()).clamp(0.0, 6.0) as usize;
    let rounded = if value.abs() < 1e-6 * span { 0.0 } else { value };
    format!("{rounded:.digits$}")
}
