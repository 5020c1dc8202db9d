//! Regular expressions of clients, in the language of RE2 that Kafka takes (RE2/J). The package used here has the same one but for
//! details: what RE2 refuses is refused, and its `\Q…\E` is understood. Rust alone has `&&`, `--`, `~~` and brackets within
//! brackets.

use std::borrow::Cow;

use regex::Regex;
use regex_syntax::ast::{
    Ast, Repetition, RepetitionKind, RepetitionRange, Visitor, parse::Parser, visit,
};

/// RE2 repeats no more often.
const REPEATS_MAX: u32 = 1_000;
/// RE2's words for that, and for a range that is none.
const REPEATS: &str = "invalid repeat count";

/// One that matches a text as a whole, or why it is none, in RE2's words.
pub fn whole(pattern: &str) -> Result<Regex, &'static str> {
    let pattern = unquoted(pattern);
    // Alone first: what surrounds it must not mend it.
    let ast = Parser::new().parse(&pattern);
    let ast = ast.map_err(|error| in_words_of_re2(&error.to_string()))?;
    visit(&ast, Repeats)?;
    let compiled = Regex::new(&format!(r"\A(?:{pattern})\z"));
    compiled.map_err(|error| in_words_of_re2(&error.to_string()))
}

/// What stands between `\Q` and `\E`, or the end, means itself.
fn unquoted(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains(r"\Q") {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len() * 2);
    let mut left = pattern;
    let mut in_brackets = false;
    while let Some(c) = left.chars().next() {
        if !in_brackets && let Some(quoted) = left.strip_prefix(r"\Q") {
            let (literal, behind) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            left = behind;
            continue;
        }
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        let escaped = usize::from(c == '\\');
        let chars = left.chars().take(1 + escaped);
        let (these, behind) = left.split_at(chars.map(char::len_utf8).sum());
        out.push_str(these);
        left = behind;
    }
    Cow::Owned(out)
}

/// Refuses what RE2 does not repeat.
struct Repeats;

impl Visitor for Repeats {
    type Output = ();
    type Err = &'static str;

    fn finish(self) -> Result<(), &'static str> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), &'static str> {
        match ast {
            Ast::Repetition(one) if matches!(*one.ast, Ast::Repetition(_)) => {
                Err("invalid nested repetition operator")
            }
            Ast::Repetition(one) if count(one) > REPEATS_MAX => Err(REPEATS),
            _ => Ok(()),
        }
    }
}

/// The larger number of those that it names.
fn count(repetition: &Repetition) -> u32 {
    match &repetition.op.kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(n)
            | RepetitionRange::AtLeast(n)
            | RepetitionRange::Bounded(_, n),
        ) => *n,
        _ => 1,
    }
}

fn in_words_of_re2(error: &str) -> &'static str {
    const WORDS: [(&str, &str); 10] = [
        ("unclosed character class", "missing closing ]"),
        ("unclosed group", "missing closing )"),
        ("unopened group", "regexp/syntax: internal error"),
        ("capture group name", "invalid named capture"),
        (
            "repetition operator missing expression",
            "missing argument to repetition operator",
        ),
        (
            "incomplete escape sequence",
            "trailing backslash at end of expression",
        ),
        ("escape sequence", "invalid escape sequence"),
        ("backreferences", "invalid escape sequence"),
        ("character class range", "invalid character class range"),
        ("repetition count range", REPEATS),
    ];
    let found = WORDS.iter().find(|(ours, _)| error.contains(ours));
    found.map_or("invalid or unsupported Perl syntax", |(_, re2)| re2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2_refuses_is_refused() {
        for (pattern, why) in [
            ("(", "missing closing )"),
            ("[a", "missing closing ]"),
            ("*", "missing argument to repetition operator"),
            ("(?=a)b", "invalid or unsupported Perl syntax"),
            ("a{2,1}", "invalid repeat count"),
            ("a{1001}", "invalid repeat count"),
            ("a{1,1001}", "invalid repeat count"),
            ("a**", "invalid nested repetition operator"),
            ("a{2}{3}", "invalid nested repetition operator"),
            ("\\", "trailing backslash at end of expression"),
            ("a)(b", "regexp/syntax: internal error"),
        ] {
            assert_eq!(whole(pattern).err(), Some(why), "{pattern}");
        }
    }

    #[test]
    fn a_whole_text_matches() {
        for (pattern, yes, no) in [
            ("a|b.", "b1", "a1"),
            ("(a{100}){11}", &*"a".repeat(1_100), "a"),
            ("(a*)*?", "aaa", "b"),
            (r"\Qa.b*\E+", "a.b**", "aab*"),
            (r"x\Q[.", "x[.", "x[a"),
            (r"\Q", "", "Q"),
            (r"[\]Q]+", "]Q", r"\"),
            (r"\\Q", r"\Q", "Q"),
        ] {
            let regex = whole(pattern).unwrap();
            assert!(regex.is_match(yes), "{pattern} {yes}");
            assert!(!regex.is_match(no), "{pattern} {no}");
        }
    }
}
