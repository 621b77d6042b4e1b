//! Compares how both servers read expressions without brackets.

use ebap_tests::process::tests_dir;

use anyhow::Context;

use super::{Run, compare::Strictness, differ, findings::Findings, servers::Servers};

pub(crate) fn fixed(servers: &Servers, _: Run) -> anyhow::Result<()> {
    let path = tests_dir().join("conformance/precedence.txt");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut pair = servers.pair("UTC")?;
    let mut findings = Findings::default();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let sql = format!("SELECT id, {line} AS x FROM d");
        differ::statement(&mut pair, &sql, line, "precedence.txt", Strictness::Exact, &mut findings);
    }
    findings.judge("precedence")
}
