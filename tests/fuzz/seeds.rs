//! The statements of the documentation and of the `.slt` files, as what is changed.

use std::path::Path;

use anyhow::Context;
use ebap_tests::process::tests_dir;

pub(crate) fn statements() -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for (folder, extension) in [("slt", "slt"), ("../docs/sql", "md")] {
        collect(&tests_dir().join(folder), extension, &mut found)?;
    }
    // What runs without end, or waits for another system, says nothing about statements.
    found.retain(|sql| !["generator", "kafka", "redis", "iceberg", "prometheus"].iter().any(|name| sql.contains(name)));
    found.sort();
    found.dedup();
    Ok(found)
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, extension, found)?;
        } else if path.extension().is_some_and(|of| of == extension) {
            found.extend(of_script(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?));
        }
    }
    Ok(())
}

/// The SQL behind `statement …` and `query …`.
fn of_script(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines().chain([""]) {
        let ends = line.is_empty() || line == "----" || line.starts_with("```");
        match &mut open {
            Some(lines) if ends => {
                found.push(lines.join("\n"));
                open = None;
            }
            Some(lines) => lines.push(line),
            None if line.starts_with("statement ") || line.starts_with("query ") => open = Some(Vec::new()),
            None => {}
        }
    }
    found
}
