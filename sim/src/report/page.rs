//! The page: a table of all attacks, then each with its cases and its chart.

use super::{chart, escaped, number, with_interval};
use crate::attacks::ELSEWHERE;
use crate::run::{AttackReport, CaseReport};

const STYLE: &str = "\
body{font-family:sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff;line-height:1.45}\
table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:.9rem}\
th,td{border-bottom:1px solid #ddd;padding:.35rem .6rem;text-align:left;vertical-align:top}\
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
.holds{color:#17692e}.missed{color:#b3261e;font-weight:bold}.void,.open{color:#8a5a00;font-weight:bold}\
h2{margin-top:3rem}svg{max-width:100%;height:auto}";

/// Writes the page; `how` says what was run, for whoever wants to run it again.
#[must_use]
pub fn page(reports: &[AttackReport], how: &str) -> String {
    let lines: String = reports.iter().map(table_line).collect();
    let sections: String = reports.iter().map(section).collect();
    let elsewhere: String = ELSEWHERE
        .iter()
        .map(|row| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                row.row, row.about, row.tried_in
            )
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>What cheating pays</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>What cheating pays</h1>\n\
         <p>{how}. Off is the subnet as published designs have it, on is Agon's. Each line is the attack's case that \
         is closest to its bound. Means are over seeds, with Student's 95 % interval; a bound holds when the whole \
         interval keeps to it. An attack is void when it does not pay with the defence off, since nothing is then \
         shown by its failing.</p>\n\
         <table>\n<tr><th>row</th><th>attack</th><th>figure</th><th class=\"n\">off</th><th class=\"n\">on</th>\
         <th class=\"n\">bound</th><th></th></tr>\n{lines}</table>\n\
         <h2>Tried elsewhere</h2>\n<table>\n<tr><th>row</th><th>what it does</th><th>tried in</th></tr>\n\
         {elsewhere}</table>\n{sections}</body>\n</html>\n",
        how = escaped(how),
    )
}

fn table_line(report: &AttackReport) -> String {
    let Some(line) = report.line() else {
        return String::new();
    };
    let figure = |figure: Option<f64>| figure.map_or_else(|| String::from("-"), number);
    let interval = line.interval.map_or_else(String::new, |[low, high]| {
        format!(" ({} to {})", number(low), number(high))
    });
    let verdict = report.verdict().name();
    format!(
        "<tr><td>{row}</td><td><a href=\"#{name}\">{name}</a><br>{about}</td><td>{what}</td>\
         <td class=\"n\">{off}</td><td class=\"n\">{on}{interval}</td><td class=\"n\">{bound}</td>\
         <td class=\"{verdict}\">{verdict}</td></tr>\n",
        row = line.row,
        name = line.attack,
        about = escaped(report.about),
        what = escaped(report.figure),
        off = figure(line.off),
        on = figure(line.on),
        bound = number(line.bound),
    )
}

fn section(report: &AttackReport) -> String {
    let cases: String = report.cases.iter().map(case_line).collect();
    format!(
        "<h2 id=\"{name}\">{row} {name}</h2>\n<p>{about} {defence} The figure: {figure}.</p>\n\
         <table>\n<tr><th>case</th><th class=\"n\">off</th><th class=\"n\">expected</th><th class=\"n\">on</th>\
         <th class=\"n\">bound</th><th></th></tr>\n{cases}</table>\n{chart}",
        name = report.attack,
        row = report.row,
        about = escaped(report.about),
        defence = escaped(report.defence),
        figure = escaped(report.figure),
        chart = chart(report),
    )
}

fn case_line(case: &CaseReport) -> String {
    let estimate = |estimate: &Option<_>| estimate.as_ref().map_or_else(|| String::from("-"), with_interval);
    let verdict = case.verdict().name();
    let why = case
        .open
        .filter(|_| verdict != "holds")
        .map_or_else(String::new, |why| format!("<br><small>{}</small>", escaped(why)));
    format!(
        "<tr><td>{label}{why}</td><td class=\"n\">{off}</td><td class=\"n\">{expected}</td><td class=\"n\">{on}</td>\
         <td class=\"n\">{bound}</td><td class=\"{verdict}\">{verdict}</td></tr>\n",
        label = escaped(&case.label),
        off = estimate(&case.off),
        expected = escaped(&case.off_bound.to_string()),
        on = estimate(&case.on),
        bound = escaped(&case.on_bound.to_string()),
    )
}
