//! The grammar of label selectors in queries: tokens and a parser with one token of lookahead.
//!
//! The keywords `in` and `notin` are ordinary names wherever a name or a value is expected.

use std::collections::BTreeSet;

use super::label::{Operator, Requirement, SelectorError};
use crate::names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

/// Longest first, so that the first match is the longest.
const SYMBOLS: &[&str] = &["!=", "==", "=", "!", "(", ")", ",", ">", "<"];

struct Tokens<'a> {
    rest: &'a str,
    peeked: Option<Token<'a>>,
}

impl<'a> Tokens<'a> {
    fn peek(&mut self) -> Token<'a> {
        if let Some(token) = self.peeked {
            return token;
        }
        let token = self.scan();
        self.peeked = Some(token);
        token
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.peeked = None;
        token
    }

    fn scan(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if self.rest.is_empty() {
            return Token::End;
        }
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)) {
            let (found, rest) = self.rest.split_at(symbol.len());
            self.rest = rest;
            return Token::Symbol(found);
        }
        let end = self.rest.find(|c: char| " \t\r\n=!(),><".contains(c));
        let (found, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Token::Word(found)
    }
}

/// The requirements that a query states.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut tokens = Tokens {
        rest: text,
        peeked: None,
    };
    let mut found = Vec::new();
    loop {
        match tokens.peek() {
            Token::End => return Ok(found),
            Token::Word(_) | Token::Symbol("!") => {}
            Token::Symbol(other) => {
                return refuse(format!("found '{other}', expected: !, identifier, or 'end of string'"));
            }
        }
        let requirement = requirement(&mut tokens)
            .map_err(|error| SelectorError(format!("unable to parse requirement: {}", error.0)))?;
        found.push(requirement);
        match tokens.next() {
            Token::End => return Ok(found),
            Token::Symbol(",") => match tokens.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return refuse(format!("found '{}', expected: identifier after ','", other.text())),
            },
            other => return refuse(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, SelectorError> {
    let absent = tokens.peek() == Token::Symbol("!");
    if absent {
        tokens.next();
    }
    let key = match tokens.next() {
        Token::Word(key) => key.to_owned(),
        other => return refuse(format!("found '{}', expected: identifier", other.text())),
    };
    let wrong = names::qualified_name(&key);
    if !wrong.is_empty() {
        // Upstream prints the missing path of the key as `<nil>`.
        return refuse(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
    }
    if absent {
        return Requirement::checked(key, Operator::DoesNotExist, BTreeSet::new());
    }
    if matches!(tokens.peek(), Token::End | Token::Symbol(",")) {
        return Requirement::checked(key, Operator::Exists, BTreeSet::new());
    }
    let (operator, values) = match tokens.next() {
        Token::Word("in") => (Operator::In, set(tokens)?),
        Token::Word("notin") => (Operator::NotIn, set(tokens)?),
        Token::Symbol("=" | "==") => (Operator::In, one(tokens)?),
        Token::Symbol("!=") => (Operator::NotIn, one(tokens)?),
        Token::Symbol(">") => (Operator::Gt, one(tokens)?),
        Token::Symbol("<") => (Operator::Lt, one(tokens)?),
        other => {
            let expected = "in, notin, =, ==, !=, gt, lt";
            return refuse(format!("found '{}', expected: {expected}", other.text()));
        }
    };
    Requirement::checked(key, operator, values)
}

fn one(tokens: &mut Tokens<'_>) -> Result<BTreeSet<String>, SelectorError> {
    if matches!(tokens.peek(), Token::End | Token::Symbol(",")) {
        return Ok(BTreeSet::from([String::new()]));
    }
    match tokens.next() {
        Token::Word(value) => Ok(BTreeSet::from([value.to_owned()])),
        other => refuse(format!("found '{}', expected: identifier", other.text())),
    }
}

fn set(tokens: &mut Tokens<'_>) -> Result<BTreeSet<String>, SelectorError> {
    match tokens.next() {
        Token::Symbol("(") => {}
        other => return refuse(format!("found '{}' expected: '('", other.text())),
    }
    let mut values = BTreeSet::new();
    match tokens.peek() {
        Token::Symbol(")") => {
            values.insert(String::new());
        }
        Token::Word(_) | Token::Symbol(",") => list(tokens, &mut values)?,
        other => return refuse(format!("found '{}', expected: ',', ')' or identifier", other.text())),
    }
    match tokens.next() {
        Token::Symbol(")") => Ok(values),
        other => refuse(format!("found '{}', expected: ')'", other.text())),
    }
}

/// Values up to the closing parenthesis, which is left; an empty place between commas is the empty value.
fn list(tokens: &mut Tokens<'_>, values: &mut BTreeSet<String>) -> Result<(), SelectorError> {
    loop {
        match tokens.next() {
            Token::Word(value) => {
                values.insert(value.to_owned());
                match tokens.peek() {
                    Token::Symbol(",") => {}
                    Token::Symbol(")") => return Ok(()),
                    other => return refuse(format!("found '{}', expected: ',' or ')'", other.text())),
                }
            }
            Token::Symbol(",") => {
                if values.is_empty() {
                    values.insert(String::new());
                }
                match tokens.peek() {
                    Token::Symbol(")") => {
                        values.insert(String::new());
                        return Ok(());
                    }
                    Token::Symbol(",") => {
                        tokens.next();
                        values.insert(String::new());
                    }
                    Token::Word(_) | Token::Symbol(_) | Token::End => {}
                }
            }
            other => return refuse(format!("found '{}', expected: ',', or identifier", other.text())),
        }
    }
}

fn refuse<T>(message: String) -> Result<T, SelectorError> {
    Err(SelectorError(message))
}
