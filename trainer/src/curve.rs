//! The loss curve as a table for programs (CSV) and as a picture for people (SVG).

use crate::course::Stage;
use crate::progress::Point;
use agon_subnets::reading::story::Kind;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

/// File of the table, beside the card.
pub const CSV_FILE: &str = "curve.csv";
/// File of the picture, beside the card.
pub const SVG_FILE: &str = "curve.svg";

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const MARGIN: f64 = 40.0;

/// Writes both files to `folder`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(folder: &Path, points: &[Point], stages: &[Stage]) -> Result<()> {
    let files = [(CSV_FILE, csv(points, stages)), (SVG_FILE, svg(points, stages))];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

/// One line per point: step, seconds, stage, loss, and the percentages of right answers.
pub fn csv(points: &[Point], stages: &[Stage]) -> String {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let mut text = format!("step,seconds,stage,loss,right,{}\n", kinds.join(","));
    for point in points {
        let Point {
            step,
            seconds,
            stage,
            loss,
            right_percent,
            ..
        } = point;
        let name = stages.get(*stage).map_or("", |stage| stage.name);
        let _ = write!(text, "{step},{seconds:.1},{name},{loss:.4},{right_percent:.1}");
        for percent in point.by_kind_percent {
            text.push(',');
            if let Some(percent) = percent {
                let _ = write!(text, "{percent:.1}");
            }
        }
        text.push('\n');
    }
    text
}

/// Loss (red) and share of right answers (blue) over steps, with a line where a stage begins.
pub fn svg(points: &[Point], stages: &[Stage]) -> String {
    let last_step = points.last().map_or(1, |point| point.step).max(1) as f64;
    let loss_max = points.iter().map(|point| point.loss).fold(0.1, f64::max);
    let x = |point: &Point| MARGIN + (WIDTH - 2.0 * MARGIN) * point.step as f64 / last_step;
    let y = |part: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * part;
    let line = |colour: &str, part: &dyn Fn(&Point) -> f64| {
        let places: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point), y(part(point))))
            .collect();
        format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>\n",
            places.join(" ")
        )
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-size=\"10\" \
         font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for pair in points.windows(2).filter(|pair| pair[0].stage != pair[1].stage) {
        let (at, name) = (
            x(&pair[1]),
            stages.get(pair[1].stage).map_or("", |stage| stage.name),
        );
        let (top, bottom) = (y(1.0), y(0.0));
        let _ = writeln!(
            text,
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ccc\"/>\
             <text transform=\"translate({:.1} {}) rotate(-90)\" fill=\"#888\">{name}</text>",
            at - 2.0,
            bottom - 4.0
        );
    }
    text += &line("firebrick", &|point| point.loss / loss_max);
    text += &line("royalblue", &|point| point.right_percent / 100.0);
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"20\" fill=\"firebrick\">loss, 0 to {loss_max:.2} nats</text>\
         <text x=\"200\" y=\"20\" fill=\"royalblue\">right answers, 0 to 100 %</text>\
         <text x=\"{MARGIN}\" y=\"{}\">step 0</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">step {last_step}</text>\n</svg>",
        HEIGHT - 20.0,
        WIDTH - MARGIN,
        HEIGHT - 20.0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::WHOLE;

    fn points() -> Vec<Point> {
        let point = |step: u64, stage| Point {
            step,
            stage,
            loss: 1.0 / step as f64,
            right_percent: 50.0,
            by_kind_percent: [Some(50.0), None, Some(25.0)],
            ..Point::default()
        };
        vec![point(50, 0), point(100, 1)]
    }

    #[test]
    fn the_table_has_a_line_for_each_point_and_gaps_for_kinds_not_asked() {
        let text = csv(&points(), WHOLE);
        assert_eq!(
            text.lines().nth(2),
            Some("100,0.0,three moves,0.0100,50.0,50.0,,25.0")
        );
    }

    #[test]
    fn the_picture_is_one_element_even_without_points() {
        for points in [vec![], points()] {
            let text = svg(&points, WHOLE);
            assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        }
    }
}
