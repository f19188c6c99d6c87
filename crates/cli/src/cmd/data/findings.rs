//! Findings for people: by kind, counted, with a few examples.

use certiseg_net::data::{Finding, Level};

/// Findings of at least the level `least` as lines, `most` examples of each kind.
pub fn lines(findings: &[Finding], least: Level, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let grave = findings.iter().filter(|finding| finding.level <= least);
    let grave: Vec<&Finding> = grave.collect();
    for group in grave.chunk_by(|a, b| a.kind == b.kind) {
        let level = match group[0].level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        lines.push(format!("{level}: {}", group[0].kind.title(group.len())));
        let examples = group.iter().take(most);
        lines.extend(examples.map(|finding| format!("    {}", finding.words)));
        if group.len() > most {
            lines.push(format!("    and {} more", group.len() - most));
        }
        if let Some(hint) = &group[0].hint {
            lines.push(format!("    hint: {hint}"));
        }
    }
    lines
}

/// "1 error, 2 warnings".
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
