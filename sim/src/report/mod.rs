//! Results as charts and as a page that needs nothing else.
//!
//! Text for programs is [`crate::run::Line`] and [`crate::run::AttackReport`] through serde.

mod page;
mod svg;

pub use page::page;
pub use svg::chart;

use crate::estimate::Estimate;

/// A figure for people: three decimals below ten, fewer above.
#[must_use]
pub fn number(figure: f64) -> String {
    match figure.abs() {
        size if size < 10.0 => format!("{figure:.3}"),
        size if size < 100.0 => format!("{figure:.2}"),
        _ => format!("{figure:.1}"),
    }
}

/// A mean with its interval, for people.
#[must_use]
pub fn with_interval(estimate: &Estimate) -> String {
    let Estimate { mean, low, high } = *estimate;
    format!("{} ({} to {})", number(mean), number(low), number(high))
}

/// Text that means itself inside XML and HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Bound;
    use crate::run::{AttackReport, CaseReport};

    fn report() -> AttackReport {
        let estimate = |mean: f64| Estimate {
            mean,
            low: mean - 0.1,
            high: mean + 0.1,
        };
        AttackReport {
            attack: "toy",
            row: "T1",
            about: "Cheats & wins.",
            figure: "units <per> stake",
            defence: "A rule.",
            cases: vec![CaseReport {
                label: String::from("c < 0.5"),
                off: Some(estimate(2.0)),
                off_bound: Bound::Near(2.0),
                on: Some(estimate(0.5)),
                on_bound: Bound::AtMost(1.0),
                open: None,
            }],
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.123_456), "0.123");
        assert_eq!(number(-12.345), "-12.35");
        assert_eq!(number(1234.56), "1234.6");
    }

    #[test]
    fn a_chart_shows_both_figures_and_the_bound() {
        let chart = chart(&report());
        assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"));
        assert!(chart.contains("units &lt;per&gt; stake") && chart.contains("c &lt; 0.5"));
        assert_eq!(
            chart.matches("<circle").count(),
            4,
            "two figures and two in the legend"
        );
        assert!(!chart.contains("NaN") && !chart.contains("inf"));
    }

    #[test]
    fn a_page_holds_every_attack_and_says_whether_it_passes() {
        let page = page(&[report()], "200 epochs, 50 seeds");
        assert!(page.contains("Cheats &amp; wins.") && page.contains("200 epochs, 50 seeds"));
        assert!(page.contains("2.000 (1.900 to 2.100)") && page.contains("&lt;= 1"));
        assert!(
            page.contains("<svg ") && page.contains("class=\"holds\"") && !page.contains("class=\"missed\"")
        );
        let mut failing = report();
        failing.cases[0].on_bound = Bound::AtMost(0.5);
        assert!(super::page(&[failing], "").contains("class=\"missed\""));
        let mut known = report();
        known.cases[0].on_bound = Bound::AtMost(0.5);
        known.cases[0].open = Some("nobody looks");
        let page = super::page(&[known], "");
        assert!(page.contains("class=\"open\"") && page.contains("nobody looks"));
        let mut void = report();
        void.cases[0].off_bound = Bound::AtLeast(3.0);
        assert!(super::page(&[void], "").contains("class=\"void\""));
    }
}
