//! Texts and the tokens that they must give.

use super::lexer::{Lexer, Reading, TokenKind};
use super::statement::SqlMode;
use super::tag::Tag;

fn check_in(text: &str, reading: Reading, expect: &str) {
    let found: Vec<String> = Lexer::new(text.as_bytes(), reading)
        .map(|t| {
            let part = &text[t.start..t.end];
            match t.kind {
                TokenKind::Word => part.to_owned(),
                TokenKind::Operator => part.to_owned(),
                kind => format!("{}<{part}>", &format!("{kind:?}")[..2]),
            }
        })
        .collect();
    assert_eq!(found.join(" "), expect, "{text}");
}

fn check(text: &str, expect: &str) {
    check_in(text, Reading::default(), expect);
}

#[test]
fn words_and_names() {
    check("SELECT a.b, `c``d`.e FROM 1st_t", "SELECT a . b , Qu<`c``d`> . e FROM 1st_t");
    check("t.1a t.5 x$y é", "t . 1a t . 5 x$y é");
    check("\"a\"", "St<\"a\">");
    let ansi = Reading { mode: SqlMode { ansi_quotes: true, ..SqlMode::default() }, ..Reading::default() };
    check_in("\"a\"", ansi, "Qu<\"a\">");
}

#[test]
fn numbers() {
    check("1 1.5 .5 1. 1e5 1E-5 1.5e+3", "Nu<1> Nu<1.5> Nu<.5> Nu<1.> Nu<1e5> Nu<1E-5> Nu<1.5e+3>");
    check("0x4D 0xZZ 0b01 0b2 x'4D' B'1'", "Bi<0x4D> 0xZZ Bi<0b01> 0b2 Bi<x'4D'> Bi<B'1'>");
    check("1e 12abc a=.5", "1e 12abc a = Nu<.5>");
}

#[test]
fn strings() {
    check("'a''b' 'c\\'d'", "St<'a''b' 'c\\'d'>");
    check("'a' /* x */ \"b\", 'c'", "St<'a' /* x */ \"b\"> , St<'c'>");
    check("N'x' _utf8mb4'x' _utf8mb4 'x' _col x", "St<N'x'> St<_utf8mb4'x'> St<_utf8mb4 'x'> _col x");
    check("'open", "Ba<'open>");
    check("'a\\", "Ba<'a\\>");
    let plain =
        Reading { mode: SqlMode { no_backslash_escapes: true, ..SqlMode::default() }, ..Reading::default() };
    check_in("'a\\' b", plain, "St<'a\\'> b");
}

#[test]
fn comments() {
    check("a -- b\nc # d\ne /* f */ g", "a c e g");
    check("a--b 5--1", "a - - b Nu<5> - - Nu<1>");
    check("a --", "a");
    check("a /* open", "a Ba</* open>");
    check("/*! a */ b /*!40001 c */ /*!99999 d */ /*M! e */", "a b c");
    check("SELECT /*+ NO_ICP(t) */ 1", "SELECT Hi</*+ NO_ICP(t) */> Nu<1>");
    let mariadb = Reading { mariadb: true, version: 101_119, ..Reading::default() };
    check_in("/*!50701 a */ /*M! b */ /*!100100 c */ /*M!110000 d */", mariadb, "b c");
}

#[test]
fn variables_and_operators() {
    check(
        "@a @'b c' @@d @@session.e @@global.`f`",
        "Us<@a> Us<@'b c'> Sy<@@d> Sy<@@session.e> Sy<@@global.`f`>",
    );
    check("a<=>b<=c!=d:=e->>f&&g||h", "a <=> b <= c != d := e ->> f && g || h");
}

#[test]
fn tags() {
    let tag_of = |text: &str| {
        let mut lexer = Lexer::new(text.as_bytes(), Reading::default());
        lexer.by_ref().for_each(drop);
        lexer.tag
    };
    assert_eq!(tag_of("/* interlock:off */ SELECT 1"), Some(Tag::Off));
    assert_eq!(tag_of("SELECT 1 /*interlock:reorder*/"), Some(Tag::Reorder));
    assert_eq!(tag_of("SELECT 1 /* interlock:maybe */"), None);
    assert_eq!(tag_of("SELECT '/* interlock:off */'"), None);
}
