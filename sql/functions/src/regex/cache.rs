//! Compiled patterns, kept from call to call.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ebap_values::Result;

use super::{Options, Pattern};

/// How many patterns one thread keeps.
const KEPT: usize = 64;

thread_local! {
    static COMPILED: RefCell<HashMap<(String, String), Rc<Pattern>>> = RefCell::default();
}

/// The patterns of one call; the last one is at hand without a look-up.
#[derive(Default)]
pub(crate) struct Patterns {
    last: Option<(String, String, Rc<Pattern>)>,
}

impl Patterns {
    /// The compiled pattern with the letters of its options.
    pub(crate) fn get(&mut self, pattern: &str, flags: &str) -> Result<&Pattern> {
        let known = self.last.as_ref().is_some_and(|(p, f, _)| p == pattern && f == flags);
        if !known {
            self.last = Some((pattern.to_owned(), flags.to_owned(), shared(pattern, flags)?));
        }
        match &self.last {
            Some((_, _, compiled)) => Ok(compiled),
            None => Err(crate::error::internal("a pattern has been lost")),
        }
    }
}

fn shared(pattern: &str, flags: &str) -> Result<Rc<Pattern>> {
    let key = (pattern.to_owned(), flags.to_owned());
    if let Some(known) = COMPILED.with_borrow(|all| all.get(&key).cloned()) {
        return Ok(known);
    }
    let compiled = Rc::new(Pattern::compile(pattern, &Options::parse(flags)?)?);
    COMPILED.with_borrow_mut(|all| {
        // Patterns that come from data are never the same; they must not gather.
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(key, compiled.clone());
    });
    Ok(compiled)
}
