use super::{Options, Pattern, similar_to_regex};

fn find(pattern: &str, text: &str) -> Option<String> {
    let pattern = Pattern::compile(pattern, &Options::default()).expect("a pattern");
    pattern.find(text, 0).and_then(|found| found.group(text, 0).map(str::to_owned))
}

fn state(pattern: &str) -> Option<&'static str> {
    Pattern::compile(pattern, &Options::default()).err().map(|e| e.sqlstate)
}

#[test]
fn the_longest_of_all_matches_from_the_left_is_found() {
    for (pattern, text, expected) in [
        ("foo|foobar", "a foobar", "foobar"),
        ("a*(ab)?", "aab", "aab"),
        ("(a|ab)(c|bcd)(d*)", "abcd", "abcd"),
        ("Y*([0-9]{1,3})", "XY1234Z", "Y123"),
        ("Y*?([0-9]{1,3})", "XY1234Z", "Y1"),
        (r"\m\w+\M", "  two words", "two"),
        ("[[:<:]]w[[:alpha:]]*", "sword words", "words"),
        (r"\u00e4+", "xää", "ää"),
        ("[]a]+", "x]a]", "]a]"),
        ("a{x", "a{x", "a{x"),
        ("***=a.c", "abc a.c", "a.c"),
        ("(?i)ABC", "abc", "abc"),
        (".+", "a\nb", "a\nb"),
        ("(?n).+", "a\nb", "a"),
        ("(?x) a b # c", "ab", "ab"),
    ] {
        assert_eq!(find(pattern, text).as_deref(), Some(expected), "{pattern}");
    }
}

#[test]
fn what_the_engine_cannot_do_is_refused_by_name() {
    for pattern in [r"(a)\1", "a(?=b)", "(?<!a)b"] {
        assert_eq!(state(pattern), Some("0A000"), "{pattern}");
    }
}

#[test]
fn bad_patterns_are_2201b() {
    for pattern in ["*a", "a**", "(a", "a)", "[a", "[b-a]", "a{2,1}", "a{256}", r"\q", "[[:foo:]]", "a\\"] {
        assert_eq!(state(pattern), Some("2201B"), "{pattern}");
    }
}

#[test]
fn patterns_that_would_take_much_memory_are_refused() {
    assert_eq!(state("((((\\w{255}){255}){255}){255})"), Some("2201B"));
    assert_eq!(state(&"(".repeat(100_000)), Some("2201B"));
}

#[test]
fn an_empty_match_moves_by_a_character() {
    let pattern = Pattern::compile("b*", &Options::default()).expect("a pattern");
    let spans: Vec<_> = pattern.all("ab", 0).map(|f| (f.start(), f.end())).collect();
    assert_eq!(spans, [(0, 0), (1, 2), (2, 2)]);
}

#[test]
fn similar_patterns_become_regular_expressions() {
    for (pattern, escape, expected) in [
        ("%(b|d)%", "\\", "^(?:.*(?:b|d).*)$"),
        ("a_c", "\\", "^(?:a.c)$"),
        ("a.c^$", "\\", r"^(?:a\.c\^\$)$"),
        ("a#%", "#", r"^(?:a\%)$"),
        ("[a%]_", "\\", "^(?:[a%].)$"),
    ] {
        assert_eq!(similar_to_regex(pattern, escape).as_deref(), Ok(expected), "{pattern}");
    }
    assert_eq!(similar_to_regex("a", "##").map_err(|e| e.sqlstate), Err("22025"));
}
