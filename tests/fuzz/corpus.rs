//! Inputs that once failed, as files of hexadecimal digits.

use std::path::PathBuf;

use anyhow::{Context, bail};
use ebap_tests::{process::tests_dir, wire::hex};

fn folder(fuzzer: &str) -> PathBuf {
    tests_dir().join("fuzz/corpus").join(fuzzer)
}

/// Name and bytes of each, in order of names.
pub(crate) fn kept(fuzzer: &str) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder(fuzzer)) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "hex") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        found.push((name, bytes(&text).with_context(|| path.display().to_string())?));
    }
    found.sort();
    Ok(found)
}

fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).context("digits")?;
        u8::from_str_radix(text, 16).context("digits")
    });
    pairs.collect()
}

/// Keeps what went wrong, and gives the error that says so.
pub(crate) fn find(fuzzer: &str, name: &str, input: &[u8], why: &anyhow::Error) -> anyhow::Result<()> {
    let folder = folder(fuzzer);
    std::fs::create_dir_all(&folder).context("the corpus")?;
    let path = folder.join(format!("{name}.hex"));
    std::fs::write(&path, hex(input) + "\n").context("the corpus")?;
    let readable = String::from_utf8_lossy(input);
    let readable: String = readable.chars().take(400).collect();
    bail!("{why:#}\n  input       {}\n  as text     {readable}\n  kept as     {}", hex(input), path.display())
}
