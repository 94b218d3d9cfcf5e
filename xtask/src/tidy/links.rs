//! Markdown: every relative link leads to a file of the checkout, and to a heading where it names one.

use super::tree::TextFile;
use super::{Tree, Violation};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.with_extension("md") {
        for (line, target) in links(&file.text) {
            if let Some(advice) = objection(tree, file, &target) {
                found.push(Violation {
                    path: file.path.clone(),
                    line,
                    rule: "link",
                    advice,
                });
            }
        }
    }
    found
}

/// What is wrong with `target` of a link in `file`, if anything is. Other sites are not visited.
fn objection(tree: &Tree, file: &TextFile, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = target
        .split_once('#')
        .map_or((target, None), |(path, heading)| (path, Some(heading)));
    let Some(path) = (if path.is_empty() {
        Some(file.path.clone())
    } else {
        resolve(&file.path, path)
    }) else {
        return Some(format!(
            "`{target}` leads out of the repository: link to the page on the web"
        ));
    };
    if !tree.has(&path) {
        return Some(format!("there is no `{path}`: correct the link, or add the file"));
    }
    let heading = heading.filter(|_| path.ends_with(".md"))?;
    let linked = tree.file(&path)?;
    let is_there = headings(&linked.text).any(|found| anchor(found) == heading);
    (!is_there).then(|| format!("{path} has no heading `#{heading}`: correct the link"))
}

/// `target` as seen from the file `from`, relative to the checkout; nothing where it leads out of it.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Targets of inline links, `[text](target)`, with their lines. Code is skipped.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, content) in lines_outside_fences(text) {
        let content = without_inline_code(content);
        for (at, _) in content.match_indices("](") {
            let rest = &content[at + 2..];
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            found.push((line, target.trim_matches(['<', '>']).to_owned()));
        }
    }
    found
}

fn headings(text: &str) -> impl Iterator<Item = &str> {
    let headings = lines_outside_fences(text)
        .into_iter()
        .filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| line.trim_start_matches('#').trim())
}

/// The anchor that a page gives a heading: lowercase, spaces to hyphens, punctuation dropped.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}

fn lines_outside_fences(text: &str) -> Vec<(usize, &str)> {
    let mut in_fence = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// Every second part between backticks is code.
fn without_inline_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(text: &str, expected: &[&str]) {
        let tree = Tree::of(&[
            ("docs/page.md", text),
            ("docs/other.md", "# One, two\n"),
            ("LICENSE", ""),
        ]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn links_that_lead_somewhere_are_in_order() {
        check_one(
            "[a](other.md) [b](../LICENSE) [c](other.md#one-two) [d](https://example.org) [e](../docs)\n",
            &[],
        );
    }

    #[test]
    fn a_dead_link_is_found_with_its_line() {
        check_one(
            "\n[a](gone.md)\n",
            &["docs/page.md:2: link: there is no `docs/gone.md`: correct the link, or add the file"],
        );
        check_one(
            "[a](other.md#three)\n",
            &["docs/page.md:1: link: docs/other.md has no heading `#three`: correct the link"],
        );
        check_one(
            "[a](../../x.md)\n",
            &["docs/page.md:1: link: `../../x.md` leads out of the repository: link to the page on the web"],
        );
    }

    #[test]
    fn code_is_not_a_link() {
        check_one("`[a](gone.md)`\n```\n[a](gone.md)\n```\n", &[]);
    }
}
