//! A chart of one attack: for each case the figure with the defence off and on, its interval, and the bound.

use std::fmt::Write;

use super::{escaped, number};
use crate::attack::Bound;
use crate::estimate::Estimate;
use crate::run::{AttackReport, CaseReport};

const WIDTH: f64 = 860.0;
/// Where the scale begins and ends.
const LEFT: f64 = 40.0;
const RIGHT: f64 = WIDTH - 40.0;
const TOP: f64 = 76.0;
/// Height of a case: its label above its figures.
const CASE: f64 = 40.0;
const OFF: &str = "#c2571a";
const ON: &str = "#1f6fb2";
const BOUND: &str = "#444";
/// Steps of the scale, about.
const TICKS: f64 = 6.0;

/// Draws the chart as a standalone SVG.
#[must_use]
pub fn chart(report: &AttackReport) -> String {
    let scale = Scale::of(report);
    let height = TOP + CASE * report.cases.len() as f64 + 36.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    heading(&mut svg, report);
    ticks(&mut svg, &scale, height - 30.0);
    for (place, case) in report.cases.iter().enumerate() {
        draw_case(&mut svg, &scale, TOP + CASE * place as f64, case);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Figures to places.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    fn of(report: &AttackReport) -> Self {
        let mut high: f64 = 1e-9;
        let mut low: f64 = 0.0;
        for case in &report.cases {
            for estimate in [case.off, case.on].into_iter().flatten() {
                high = high.max(estimate.high);
                low = low.min(estimate.low);
            }
            high = high.max(case.on_bound.figure());
            low = low.min(case.on_bound.figure());
        }
        let step = round_step((high - low) / TICKS);
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            step,
        }
    }

    fn place(&self, figure: f64) -> f64 {
        LEFT + (figure - self.low) / (self.high - self.low) * (RIGHT - LEFT)
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step);
    factor.unwrap_or(10.0) * power
}

fn heading(svg: &mut String, report: &AttackReport) {
    text(
        svg,
        LEFT,
        20.0,
        15.0,
        &format!("{}  {}", report.row, report.attack),
    );
    text(svg, LEFT, 40.0, 12.0, report.figure);
    let legend = [
        (LEFT, "defence off", OFF, "#fff"),
        (LEFT + 130.0, "defence on", ON, ON),
    ];
    for (x, name, stroke, fill) in legend {
        circle(svg, x + 5.0, 56.0, stroke, fill);
        text(svg, x + 16.0, 60.0, 12.0, name);
    }
    line(svg, (LEFT + 260.0, 50.0), (LEFT + 260.0, 62.0), BOUND, 3.0);
    text(
        svg,
        LEFT + 268.0,
        60.0,
        12.0,
        "bound with the defence on; bars are 95 % intervals",
    );
}

fn ticks(svg: &mut String, scale: &Scale, bottom: f64) {
    let count = ((scale.high - scale.low) / scale.step).round() as usize;
    for index in 0..=count {
        let figure = scale.low + scale.step * index as f64;
        let x = scale.place(figure);
        line(svg, (x, TOP), (x, bottom), "#ddd", 1.0);
        text(svg, x - 10.0, bottom + 16.0, 11.0, &number(figure));
    }
}

fn draw_case(svg: &mut String, scale: &Scale, top: f64, case: &CaseReport) {
    text(svg, LEFT + 4.0, top + 13.0, 12.0, &case.label);
    let y = top + 26.0;
    if let Some(off) = &case.off {
        figure(svg, scale, y, off, (OFF, "#fff"));
    }
    if let Some(on) = &case.on {
        figure(svg, scale, y, on, (ON, ON));
    }
    let x = scale.place(case.on_bound.figure());
    line(svg, (x, y - 8.0), (x, y + 8.0), BOUND, 3.0);
    let way = match case.on_bound {
        Bound::AtMost(_) => -6.0,
        Bound::AtLeast(_) => 6.0,
        Bound::Near(_) => 0.0,
    };
    line(svg, (x, y - 8.0), (x + way, y - 8.0), BOUND, 2.0);
}

fn figure(svg: &mut String, scale: &Scale, y: f64, estimate: &Estimate, (stroke, fill): (&str, &str)) {
    let place = |figure| scale.place(figure);
    line(
        svg,
        (place(estimate.low), y),
        (place(estimate.high), y),
        stroke,
        3.0,
    );
    circle(svg, place(estimate.mean), y, stroke, fill);
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
    let ((x1, y1), (x2, y2)) = (from, to);
    push(
        svg,
        format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>\n"
        ),
    );
}

fn circle(svg: &mut String, x: f64, y: f64, stroke: &str, fill: &str) {
    push(
        svg,
        format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" stroke=\"{stroke}\" stroke-width=\"2\" fill=\"{fill}\"/>\n"
        ),
    );
}

fn text(svg: &mut String, x: f64, y: f64, size: f64, words: &str) {
    let words = escaped(words);
    push(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"#222\">{words}</text>\n"),
    );
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    svg.write_fmt(element).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (step, expected) in [(0.13, 0.2), (0.2, 0.2), (3.1, 5.0), (7.0, 10.0), (0.006, 0.01)] {
            assert!(
                (round_step(step) - expected).abs() < 1e-9,
                "{step}: {}",
                round_step(step)
            );
        }
    }
}
