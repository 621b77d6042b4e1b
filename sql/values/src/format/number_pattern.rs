//! The template patterns of numbers.

use super::template::literal;
use crate::{Result, ValueError};

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Nine,
    Zero,
    Point,
    LocalePoint,
    Comma,
    Group,
    Currency,
    Roman {
        upper: bool,
    },
    Ordinal {
        upper: bool,
    },
    Minus,
    Plus,
    Sign,
    /// A pattern that prints nothing by itself.
    Silent,
    Character(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Before,
    After,
}

/// What a pattern as a whole asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    pub(super) nodes: Vec<Node>,
    /// Digits before the point.
    pub(super) pre: usize,
    /// Digits after the point.
    pub(super) post: usize,
    /// Where the sign of S stands.
    pub(super) anchor: Option<Anchor>,
    /// Digits before S.
    pub(super) pre_sign: usize,
    /// Digits after V: the number is multiplied by this power of ten.
    pub(super) multi: usize,
    /// Digits before the first 0.
    pub(super) zero_start: usize,
    /// Digits up to the last 0.
    pub(super) zero_end: usize,
    pub(super) zero: bool,
    pub(super) decimal: bool,
    pub(super) fill: bool,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) bracket: bool,
    pub(super) roman: bool,
    pub(super) shifted: bool,
    pub(super) exponent: bool,
    blank: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Node(Node),
    Fill,
    Bracket,
    SignAnchor,
    Shift,
    Exponent,
    Blank,
}

const KEYWORDS: &[(&str, Key)] = &[
    ("EEEE", Key::Exponent),
    ("FM", Key::Fill),
    ("MI", Key::Node(Node::Minus)),
    ("PL", Key::Node(Node::Plus)),
    ("PR", Key::Bracket),
    ("RN", Key::Node(Node::Roman { upper: true })),
    ("rn", Key::Node(Node::Roman { upper: false })),
    ("SG", Key::Node(Node::Sign)),
    ("SP", Key::Node(Node::Silent)),
    ("TH", Key::Node(Node::Ordinal { upper: true })),
    ("th", Key::Node(Node::Ordinal { upper: false })),
    (",", Key::Node(Node::Comma)),
    (".", Key::Node(Node::Point)),
    ("0", Key::Node(Node::Zero)),
    ("9", Key::Node(Node::Nine)),
    ("B", Key::Blank),
    ("C", Key::Node(Node::Silent)),
    ("D", Key::Node(Node::LocalePoint)),
    ("G", Key::Node(Node::Group)),
    ("L", Key::Node(Node::Currency)),
    ("S", Key::SignAnchor),
    ("V", Key::Shift),
];

/// The longest name that the text begins with, all in upper or all in lower case.
fn keyword(text: &str) -> Option<(usize, Key)> {
    // Longer names come first in the table.
    let exact = KEYWORDS.iter().find(|(name, _)| text.starts_with(name));
    let lower = KEYWORDS.iter().find(|(name, _)| text.starts_with(&name.to_ascii_lowercase()));
    exact.or(lower).map(|(name, key)| (name.len(), *key))
}

fn wrong(message: &str) -> ValueError {
    ValueError::new("42601", message)
}

impl Shape {
    /// 42601: patterns that contradict each other.
    pub(super) fn parse(pattern: &str) -> Result<Self> {
        let mut shape = Self::default();
        let mut rest = pattern;
        while !rest.is_empty() {
            if let Some((length, key)) = keyword(rest) {
                rest = &rest[length..];
                shape.add(key)?;
            } else {
                rest = literal(rest, &mut |c, _| shape.nodes.push(Node::Character(c)));
            }
        }
        shape.settle();
        Ok(shape)
    }

    fn add(&mut self, key: Key) -> Result<()> {
        if self.exponent && key != Key::Exponent {
            return Err(wrong("\"EEEE\" must be the last pattern used"));
        }
        match key {
            Key::Node(node) => {
                self.note(node)?;
                self.nodes.push(node);
            }
            Key::Fill => self.fill = true,
            Key::Blank => self.blank |= self.pre == 0 && self.post == 0 && !self.zero,
            Key::Bracket => {
                if self.anchor.is_some() || self.plus || self.minus {
                    return Err(wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.bracket = true;
            }
            Key::SignAnchor => self.sign_anchor()?,
            Key::Shift => {
                if self.decimal {
                    return Err(wrong("cannot use \"V\" and decimal point together"));
                }
                self.shifted = true;
            }
            Key::Exponent => {
                if self.exponent {
                    return Err(wrong("cannot use \"EEEE\" twice"));
                }
                let other = self.blank || self.fill || self.anchor.is_some() || self.bracket || self.minus;
                if other || self.plus || self.roman || self.shifted {
                    return Err(wrong("\"EEEE\" is incompatible with other formats"));
                }
                self.exponent = true;
            }
        }
        Ok(())
    }

    fn note(&mut self, node: Node) -> Result<()> {
        match node {
            Node::Nine if self.bracket => return Err(wrong("\"9\" must be ahead of \"PR\"")),
            Node::Zero if self.bracket => return Err(wrong("\"0\" must be ahead of \"PR\"")),
            Node::Nine if self.shifted => self.multi += 1,
            Node::Nine if self.decimal => self.post += 1,
            Node::Nine => self.pre += 1,
            Node::Zero => self.note_zero(),
            Node::Point | Node::LocalePoint => {
                if self.decimal {
                    return Err(wrong("multiple decimal points"));
                }
                if self.shifted {
                    return Err(wrong("cannot use \"V\" and decimal point together"));
                }
                self.decimal = true;
            }
            Node::Minus | Node::Plus | Node::Sign => {
                if self.anchor.is_some() {
                    let name = match node {
                        Node::Minus => "MI",
                        Node::Plus => "PL",
                        _ => "SG",
                    };
                    return Err(wrong(&format!("cannot use \"S\" and \"{name}\" together")));
                }
                self.minus |= node != Node::Plus;
                self.plus |= node != Node::Minus;
            }
            Node::Roman { .. } => self.roman = true,
            _ => {}
        }
        Ok(())
    }

    fn note_zero(&mut self) {
        if !self.zero && !self.decimal {
            self.zero = true;
            self.zero_start = self.pre + 1;
        }
        if self.decimal {
            self.post += 1;
        } else {
            self.pre += 1;
        }
        self.zero_end = self.pre + self.post;
    }

    fn sign_anchor(&mut self) -> Result<()> {
        if self.anchor.is_some() {
            return Err(wrong("cannot use \"S\" twice"));
        }
        if self.plus || self.minus || self.bracket {
            return Err(wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
        }
        self.anchor = Some(if self.decimal { Anchor::After } else { Anchor::Before });
        self.pre_sign = self.pre;
        Ok(())
    }

    fn settle(&mut self) {
        self.zero_start = self.zero_start.saturating_sub(1);
    }
}
