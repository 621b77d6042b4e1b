//! Counts the findings by kind and shape, keeps an example of each, and compares them with the known ones.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use ebap_tests::{process::tests_dir, wire::Answer};

use super::compare::Kind;

/// Findings that a failed test prints in full.
const SHOWN: usize = 60;

#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    /// The statement with types in place of values; findings of one kind and shape are one.
    pub(crate) shape: String,
    /// The smallest statement that differs.
    pub(crate) statement: String,
    /// The random statement it was made of, and the seed that makes that again.
    pub(crate) whole: String,
    pub(crate) seed: String,
    pub(crate) right: String,
    pub(crate) ours: String,
}

/// The shape with the SQLSTATEs, which tell kinds of refusal apart.
pub(crate) fn shape_with_codes(kind: Kind, shape: &str, right: &Answer, ours: &Answer) -> String {
    match (kind, right, ours) {
        (Kind::Code, Answer::Error(right, _), Answer::Error(ours, _)) => format!("{right} as {ours}: {shape}"),
        (Kind::Lax, Answer::Error(code, _), _) | (Kind::Refused, _, Answer::Error(code, _)) => {
            format!("{code}: {shape}")
        }
        _ => shape.to_owned(),
    }
}

/// One line of `known.tsv`.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) kind: Kind,
    /// A pattern, in which `*` stands for anything.
    pub(crate) shape: String,
    /// A statement that shows it; empty where none shows it alone.
    pub(crate) statement: String,
}

/// The differences that are known, and expected until they are mended.
pub(crate) fn known() -> anyhow::Result<Vec<Known>> {
    let path = tests_dir().join("conformance/known.tsv");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let known = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, shape, statement, reason] = fields[..] else { bail!("not four fields: {line}") };
        let kind = Kind::parse(kind).with_context(|| format!("no kind {kind}"))?;
        ensure!(!reason.is_empty(), "no reason: {line}");
        Ok(Known { kind, shape: shape.to_owned(), statement: statement.to_owned() })
    });
    known.collect()
}

#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Statements that were compared, and those that differed.
    pub(crate) compared: usize,
    pub(crate) equal: usize,
    pub(crate) both_refuse: usize,
    /// By the reason, with a statement of each.
    on_purpose: BTreeMap<&'static str, (usize, String)>,
    found: BTreeMap<(Kind, String), (usize, Finding)>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        let key = (finding.kind, finding.shape.clone());
        self.found.entry(key).and_modify(|(count, _)| *count += 1).or_insert((1, finding));
    }

    pub(crate) fn on_purpose(&mut self, reason: &'static str, statement: &str) {
        self.on_purpose.entry(reason).or_insert_with(|| (0, statement.to_owned())).0 += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.compared += other.compared;
        self.equal += other.equal;
        self.both_refuse += other.both_refuse;
        for (reason, (count, statement)) in other.on_purpose {
            self.on_purpose.entry(reason).or_insert_with(|| (0, statement)).0 += count;
        }
        for (key, (count, finding)) in other.found {
            self.found.entry(key).and_modify(|(sum, _)| *sum += count).or_insert((count, finding));
        }
    }

    /// Prints the figures; fails where something differs that is not known.
    pub(crate) fn judge(self, what: &str) -> anyhow::Result<()> {
        let known = known()?;
        let is_known = |finding: &Finding| {
            known.iter().any(|known| known.kind == finding.kind && fits(&known.shape, &finding.shape))
        };
        let mut text =
            format!("{what}: {} statements, {} equal, {} refused by both", self.compared, self.equal, self.both_refuse);
        let mut by_kind: BTreeMap<Kind, (usize, usize)> = BTreeMap::new();
        for (count, finding) in self.found.values() {
            let (known, new) = by_kind.entry(finding.kind).or_default();
            *(if is_known(finding) { known } else { new }) += count;
        }
        for (kind, (known, new)) in &by_kind {
            text.push_str(&format!(", {} {} ({known} known)", known + new, kind.name()));
        }
        for (reason, (count, statement)) in &self.on_purpose {
            text.push_str(&format!("\n  {count} on purpose, {reason}: {}", shortened(statement)));
        }
        print(&text);
        let new: Vec<&(usize, Finding)> = self.found.values().filter(|(_, finding)| !is_known(finding)).collect();
        write_new(&new)?;
        if new.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = new.iter().take(SHOWN).map(|(count, finding)| told(*count, finding)).collect();
        bail!("{what}: {} kinds of difference that are not known\n\n{}", new.len(), shown.join("\n\n"))
    }
}

/// True where the shape is of this pattern, in which `*` stands for anything.
fn fits(pattern: &str, shape: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = shape.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    last.map_or(rest.is_empty(), |last| rest.is_empty() || last.is_empty() || shape.ends_with(last))
}

fn shortened(statement: &str) -> String {
    statement.chars().take(300).collect()
}

fn told(count: usize, finding: &Finding) -> String {
    let Finding { kind, shape, statement, whole, seed, right, ours } = finding;
    format!(
        "{} ({count} times): {shape}\n  statement   {statement}\n  PostgreSQL  {right}\n  EBAP        {ours}\n  found in    {whole}\n  by seed     {seed}\n  run alone   EBAP_CONFORMANCE_STATEMENT=\"…\" make conformance",
        kind.name()
    )
}

/// Appends what is new to the file that `EBAP_CONFORMANCE_OUT` names, as lines for `known.tsv`.
fn write_new(new: &[&(usize, Finding)]) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("EBAP_CONFORMANCE_OUT") else { return Ok(()) };
    let mut file = std::fs::File::options().create(true).append(true).open(path).context("EBAP_CONFORMANCE_OUT")?;
    for (count, finding) in new {
        let flat = |text: &str| text.replace(['\n', '\t', '\r'], " ");
        let line = format!(
            "{}\t{}\t{}\t{count} times: PostgreSQL {}; EBAP {}\n",
            finding.kind.name(),
            finding.shape,
            flat(&finding.statement),
            flat(&finding.right),
            flat(&finding.ours)
        );
        std::io::Write::write_all(&mut file, line.as_bytes()).context("EBAP_CONFORMANCE_OUT")?;
    }
    Ok(())
}

/// To where the reader of a test looks.
pub(crate) fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}
