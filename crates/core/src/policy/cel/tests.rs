//! Conditions: what they mean, what they may cost, and what is found before any request meets them.

use std::collections::BTreeMap;

use cel::{Context, Program};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::totals::Earlier;
use super::super::{Condition, EvalError, Question, Verdict};
use super::syntax::MAX_DEPTH;
use super::{Budget, compile};
use crate::Timestamp;

use Verdict::{False, True};

const MISSING: Verdict = Verdict::Error(EvalError::MissingField);
const WRONG: Verdict = Verdict::Error(EvalError::WrongType);
const RANGE: Verdict = Verdict::Error(EvalError::OutOfRange);
const UNREADABLE: Verdict = Verdict::Error(EvalError::Unreadable);
const TOO_MANY: Verdict = Verdict::Error(EvalError::TooManySteps);

/// Thursday, 26 November 2026.
const NOW: &str = "2026-11-26T18:11:22.250Z";

fn test(source: &str, payload: &Json) -> Verdict {
    let (condition, _) = Condition::compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
    evaluate(&condition, payload)
}

fn evaluate(condition: &Condition, payload: &Json) -> Verdict {
    let metadata = BTreeMap::from([("run".to_owned(), "7".to_owned())]);
    let question = Question {
        client: "n8n",
        action: "refund.create",
        summary: "Refund for Åsa",
        payload,
        metadata: &metadata,
        now: Timestamp::parse(NOW).unwrap(),
    };
    condition.test(&question, &Earlier::new(), &Budget::of_one_request())
}

/// Each compiles: what it comes to is found by a request alone.
fn check(rows: &[(&str, Json, Verdict)]) {
    for (source, payload, expected) in rows {
        assert_eq!(test(source, payload), *expected, "{source} {payload}");
    }
}

/// Each fails for its constants, whatever the payload: a fault of a new policy, which in an installed one a request finds.
fn never(rows: &[(&str, Verdict)]) {
    for (source, expected) in rows {
        assert!(Condition::compile(source).is_err(), "{source}");
        assert_eq!(evaluate(&Condition::unchecked(source), &json!({})), *expected, "{source}");
    }
}

fn holds(sources: &[&str], payload: &Json) {
    for source in sources {
        assert_eq!(test(source, payload), True, "{source}");
    }
}

fn fault(source: &str) -> (String, String, String) {
    let faults = Condition::compile(source).map(|_| ()).expect_err(source);
    let fault = faults.first().unwrap();
    let part = source.get(fault.span.clone()).unwrap_or_else(|| panic!("{source}: {:?}", fault.span));
    (fault.message.clone(), part.to_owned(), fault.help.clone().unwrap_or_default())
}

#[test]
fn numbers_of_the_payload_are_doubles() {
    #[rustfmt::skip]
    check(&[
        // What an integer division would have hidden.
        ("payload.a / payload.b <= 20", json!({"a": 209, "b": 10}), False),
        ("payload.a / payload.b == 20.9", json!({"a": 209, "b": 10}), True),
        ("int(payload.a) / int(payload.b) <= 20", json!({"a": 209, "b": 10}), True),
        ("type(payload.a) == double", json!({"a": 50}), True),
        ("type(payload.a) == int", json!({"a": 50}), False),
        ("type(payload.a) == int", json!({"a": 50.0}), False),
        ("payload.a == 50", json!({"a": 50.0}), True),
        ("payload.a == 50u && 50 == payload.a && payload.a == 50.0", json!({"a": 50}), True),
        ("payload.amount <= 20", json!({"amount": 20}), True),
        ("payload.amount <= 20", json!({"amount": 20.01}), False),
        ("payload.amount <= 20.0 && payload.amount >= -1", json!({"amount": -1}), True),
        // A whole number that is written in the policy is what its neighbour needs.
        ("payload.amount + 1 == 21", json!({"amount": 20}), True),
        ("1 + payload.amount * 2 - 1 == 40", json!({"amount": 20}), True),
        ("payload.amount / 3 < 7 && payload.amount / 3 > 6", json!({"amount": 20}), True),
        ("payload.amount + -1 == 19 && -payload.amount == -20", json!({"amount": 20}), True),
        ("payload.amount + -(1) == 19 && -(1) + payload.amount == 19", json!({"amount": 20}), True),
        ("double(size(payload.items)) * payload.price <= 20", json!({"items": [1, 2], "price": 9.5}), True),
        ("int(payload.n) % 2 == 0", json!({"n": 4}), True),
        ("int(payload.n) % 2 == 0", json!({"n": 4.9}), True),
        ("payload.n == double(int(payload.n))", json!({"n": 4.5}), False),
        ("payload.a / payload.b > 1000", json!({"a": 1, "b": 0}), True),
        ("int(payload.a) / int(payload.b) > 1000", json!({"a": 1, "b": 0}), RANGE),
        ("payload.a / payload.b == 0", json!({"a": 0, "b": 0}), False),
        ("payload.items[payload.i] == 'b'", json!({"items": ["a", "b"], "i": 1}), True),
        ("payload.items[payload.i] == 'b'", json!({"items": ["a", "b"], "i": 1.5}), RANGE),
        ("payload.n == 9007199254740991", json!({"n": 9_007_199_254_740_991_i64}), True),
        // Exact across types, where a conversion would have rounded.
        ("9007199254740993 == 9007199254740992.0", json!({}), False),
        ("9223372036854775807 < 9223372036854775808.0", json!({}), True),
        ("18446744073709551615u > -1 && -1 < 0u", json!({}), True),
    ]);
}

#[test]
fn what_cannot_be_evaluated_is_neither_true_nor_false() {
    #[rustfmt::skip]
    check(&[
        ("payload.amount <= 20", json!({}), MISSING),
        ("payload.a.b <= 20", json!({"a": {}}), MISSING),
        ("payload.amount <= 20", json!({"amount": "20"}), WRONG),
        ("payload.amount <= 20", json!({"amount": null}), WRONG),
        ("payload.amount", json!({"amount": 20}), Verdict::Error(EvalError::NotBoolean)),
        ("payload.amount.x == 1", json!({"amount": 20}), WRONG),
        ("1 / 0 == 1", json!({}), RANGE),
        ("payload.items[2] == 1", json!({"items": [1, 2]}), RANGE),
        ("payload.items[-1] == 1", json!({"items": [1, 2]}), RANGE),
        ("payload.to.startsWith('a')", json!({"to": 1}), WRONG),
        ("payload.to.matches('a')", json!({"to": 1}), WRONG),
        ("!payload.flag", json!({"flag": 0}), WRONG),
        ("payload.flag ? true : false", json!({"flag": "yes"}), WRONG),
        ("9223372036854775807 + 1 > 0", json!({}), RANGE),
        ("int(payload.n) > 0", json!({"n": 1e19}), RANGE),
        ("int(payload.n) > 0", json!({"n": "1.5"}), UNREADABLE),
        ("timestamp(payload.t) < now", json!({"t": "tomorrow"}), UNREADABLE),
        // What one side settles stays settled.
        ("has(payload.amount) && payload.amount <= 20", json!({}), False),
        ("action == 'x' && payload.amount <= 20", json!({}), False),
        ("payload.amount <= 20 && action == 'x'", json!({}), False),
        ("payload.amount <= 20 || action == 'refund.create'", json!({}), True),
        ("payload.amount <= 20 || action == 'x'", json!({}), MISSING),
        ("payload.flag && true", json!({"flag": "yes"}), WRONG),
        // A list's items settle as well.
        ("payload.items.all(i, i > 0)", json!({"items": ["x", -1]}), False),
        ("payload.items.all(i, i > 0)", json!({"items": ["x", 1]}), WRONG),
        ("payload.items.exists(i, i > 0)", json!({"items": ["x", 1]}), True),
        ("payload.items.exists(i, i > 0)", json!({"items": [-1, "x"]}), WRONG),
        ("payload.items.exists_one(i, i > 0)", json!({"items": [1, "x"]}), WRONG),
        ("payload.items.all(i, i > 0)", json!({"items": 7}), WRONG),
        ("payload.items.map(i, i.x)[0] == 1", json!({"items": [{}]}), MISSING),
    ]);
}

#[test]
fn macros_and_operators_mean_what_the_language_says() {
    let payload = json!({
        "items": [{"price": 5, "tags": ["a", "b"]}, {"price": 7, "tags": []}],
        "to": "a", "deep": {"x": {"y": null}}, "my-key": 1, "n": 3, "flags": {"a": true, "b": false},
    });
    holds(
        &[
            "payload.items.all(i, i.price < 10 && size(i.tags) < 3)",
            "payload.items.exists(i, i.tags.exists(t, t == 'b'))",
            "payload.items.exists_one(i, i.price == 7)",
            "!payload.items.exists_one(i, i.price > 1)",
            "payload.items.filter(i, i.price > 5).size() == 1",
            "payload.items.map(i, i.price) == [5, 7]",
            "payload.items.map(i, i.price > 5, i.price * 2) == [14]",
            "payload.items.map(i, i.tags.map(t, t + '!')) == [['a!', 'b!'], []]",
            "payload.items.map(i, i.price).filter(p, p > 5).map(p, p + 1) == [8]",
            "[[1, 2], [3]].all(l, l.all(x, x < 4)) && [1, 2].map(x, [x, x] + [x])[1] == [2, 2, 2]",
            "payload.flags.all(k, k in ['a', 'b']) && payload.flags.exists(k, payload.flags[k])",
            "metadata.run == '7' && metadata['run'] == '7' && 'run' in metadata && !('x' in metadata)",
            "payload.to in ['a', 'b'] && !(payload.n in [1, 2.0]) && payload.n in [3]",
            "has(payload.deep.x.y) && payload.deep.x.y == null && !has(payload.deep.x.z)",
            "payload['my-key'] == 1 && payload.`my-key` == 1",
            "client == 'n8n' && size(summary) == 14 && summary.size() == 14",
            "{'a': 1, 'b': 2}['b'] == 2 && {'a': [1]} == {'a': [1.0]} && {1: 2}[1.0] == 2",
            "payload.n > 2 ? payload.to == 'a' : false",
            "(payload.n == 3) == true && 'a' < 'b' && !(true < false) && b'a' < b'b'",
            "[1, 2] + [3] == [1, 2, 3] && 'a' + 'b' == 'ab' && b'a' + b'b' == b'ab'",
            "[] == [] && {} == {} && [1] != [2] && [1] != ['1'] && {'a': 1} != {'b': 1} && null == null",
            "type(payload.to) == string && type(1) == int && type([]) == list && type({}) == map && type(type(1)) == type",
            "type(null) == null_type && type(1u) == uint && type(b'') == bytes && type(1.0) == double && type(true) == bool",
            "dyn(1) == 1 && -7 / 2 == -3 && -7 % 2 == -1 && 7u / 2u == 3u && 1.5 * 2.0 == 3.0",
            "5 - 3 - 1 == 1 && 2 + 3 * 4 == 14 && !false == true && -(-3) == 3",
            "true || payload.nothing && false",
            "'\\u00e5' == 'å' && r'\\d' == '\\\\d' && '''a'b''' == \"a'b\" && '\\x41\\101' == 'AA'",
            "0x10 == 16 && 1e3 == 1000 && .5 == 0.5 // a remark",
        ],
        &payload,
    );
}

#[test]
fn conversions_take_what_they_can_hold() {
    #[rustfmt::skip]
    holds(&[
        "int(2.9) == 2 && int(-2.9) == -2 && int('-42') == -42 && int(7u) == 7 && uint(7) == 7u && uint('7') == 7u",
        "uint(2.9) == 2u && double('1e3') == 1000.0 && double(3) == 3.0 && double(3u) == 3.0",
        "string(1.5) == '1.5' && string(payload.n) == '20' && string(-3) == '-3' && string(3u) == '3'",
        "string(payload.tiny) == '0.000001' && string(payload.large) == '1e+21' && string(true) == 'true'",
        "string(b'abc') == 'abc' && bytes('abc') == b'abc' && size(bytes('å')) == 2 && size('å') == 1",
        "bool('true') && bool('T') && !bool('0') && bool(true)",
    ], &json!({"n": 20.0, "tiny": 1e-6, "large": 1e21}));
    #[rustfmt::skip]
    check(&[
        ("int(payload.x) > 0", json!({"x": true}), WRONG),
        ("int(payload.x) > 0", json!({"x": null}), WRONG),
        ("uint(payload.x) > 0u", json!({"x": -1}), RANGE),
        ("uint(payload.x) == 0u", json!({"x": -0.5}), True),
        ("double(payload.x) > 0", json!({"x": "one"}), UNREADABLE),
        ("bool(payload.x)", json!({"x": "yes"}), UNREADABLE),
        ("bool(payload.x)", json!({"x": 1}), WRONG),
        ("string(payload.x) == ''", json!({"x": []}), WRONG),
        ("bytes(payload.x) == b''", json!({"x": 1}), WRONG),
    ]);
    #[rustfmt::skip]
    never(&[
        ("int(9223372036854775808.0) > 0", RANGE),
        ("int(-9223372036854775808.0) < 0", RANGE),
        ("int(18446744073709551615u) > 0", RANGE),
        ("int('9223372036854775808') > 0", RANGE),
        ("int('+1') > 0 || int('') > 0", UNREADABLE),
        ("int('') > 0", UNREADABLE),
        ("uint(-1) > 0u", RANGE),
        ("string(b'\\xff') == ''", UNREADABLE),
    ]);
}

#[test]
fn times_and_durations_have_their_standard_functions() {
    #[rustfmt::skip]
    holds(&[
        "now == timestamp('2026-11-26T18:11:22.25Z') && now > timestamp('2026-11-26T18:11:22Z')",
        "now - timestamp('2026-11-26T17:11:22.250Z') == duration('1h') && now - now == duration('0')",
        "now + duration('1h30m') - duration('5400s') == now && duration('90m') + now > now",
        "timestamp(payload.due) - now < duration('24h') && timestamp(payload.due) > now",
        "now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 26 && now.getDayOfMonth() == 25",
        "now.getDayOfWeek() == 4 && now.getDayOfYear() == 329 && now.getHours() == 18 && now.getMinutes() == 11",
        "now.getSeconds() == 22 && now.getMilliseconds() == 250",
        "now.getHours('Europe/Berlin') == 19 && now.getHours('America/New_York') == 13 && now.getHours('+05:30') == 23",
        "now.getMinutes('+05:30') == 41 && now.getDate('Asia/Tokyo') == 27 && now.getHours('-02:00') == 16",
        "timestamp('2026-07-01T12:00:00Z').getHours('Europe/Berlin') == 14 && now.getHours('02:00') == 20",
        "timestamp('2023-12-24T00:00:00Z').getDayOfWeek() == 0 && timestamp('1969-12-31T23:59:59Z').getSeconds() == 59",
        "timestamp(0) == timestamp('1970-01-01T00:00:00Z') && int(timestamp(-1)) == -1 && int(now) == 1795716682",
        "timestamp('2026-11-26T19:11:22.25+01:00') == now && timestamp(now) == now",
        "string(now) == '2026-11-26T18:11:22.25Z' && string(timestamp(0)) == '1970-01-01T00:00:00Z'",
        "duration('1h30m').getMinutes() == 90 && duration('10000s').getHours() == 2 && duration('3730s').getSeconds() == 3730",
        "duration('123.321456789s').getMilliseconds() == 321 && duration('-1.5s') < duration('0s')",
        "string(duration('1h30m')) == '5400s' && string(duration('-1.5s')) == '-1.5s' && duration('250ms') == duration('0.25s')",
        "duration('1us') == duration('1000ns') && -duration('1s') == duration('-1s') && duration('1.5h') == duration('90m')",
        "type(now) == timestamp && type(now) == google.protobuf.Timestamp && type(duration('1s')) == duration",
        "timestamp('9999-12-31T23:59:59.999Z') > now && timestamp('0001-01-01T00:00:00Z') < now",
    ], &json!({"due": "2026-11-27T12:00:00+01:00"}));
    #[rustfmt::skip]
    check(&[
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s') > now", json!({}), RANGE),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1s') < now", json!({}), RANGE),
        ("timestamp(int(payload.t)) > now", json!({"t": 1e15}), RANGE),
        ("duration(payload.d) > duration('0')", json!({"d": "1"}), UNREADABLE),
        ("duration(payload.d) > duration('0')", json!({"d": "1x"}), UNREADABLE),
        ("duration(payload.d) > duration('0')", json!({"d": ""}), UNREADABLE),
        ("duration(payload.d) > duration('0')", json!({"d": "."}), UNREADABLE),
        ("duration(payload.d) > duration('0')", json!({"d": "s"}), UNREADABLE),
        ("timestamp(payload.t) > now", json!({"t": "2026-02-30T00:00:00Z"}), UNREADABLE),
        ("timestamp(payload.t) > now", json!({"t": "2026-11-26"}), UNREADABLE),
        ("timestamp(payload.t) > now", json!({"t": 5}), WRONG),
        ("now.getHours(payload.zone) == 1", json!({"zone": "Mars/Phobos"}), UNREADABLE),
        ("now.getHours(payload.zone) == 1", json!({"zone": "+24:00"}), UNREADABLE),
    ]);
    #[rustfmt::skip]
    never(&[
        ("duration('87660001h') > duration('0')", RANGE),
        ("duration('1s').getHours('UTC') == 0", WRONG),
        ("duration('1s').getFullYear() == 0", WRONG),
    ]);
}

#[test]
fn texts_have_their_extension() {
    #[rustfmt::skip]
    holds(&[
        "'tacocat'.charAt(3) == 'o' && 'tacocat'.charAt(7) == '' && '©αT'.charAt(0) == '©'",
        "'tacocat'.indexOf('') == 0 && 'tacocat'.indexOf('ac') == 1 && 'tacocat'.indexOf('none') == -1",
        "'tacocat'.indexOf('a', 3) == 5 && 'ta©o©αT'.indexOf('©') == 2 && 'ta©o©αT'.indexOf('©', 3) == 4",
        "'ta©o©αT'.indexOf('©αT', 3) == 4 && 'tacocat'.indexOf('x', 7) == -1",
        "'tacocat'.lastIndexOf('at') == 5 && 'tacocat'.lastIndexOf('none') == -1 && 'tacocat'.lastIndexOf('') == 7",
        "'tacocat'.lastIndexOf('a', 3) == 1 && 'ta©o©αT'.lastIndexOf('©') == 4 && 'ta©o©αT'.lastIndexOf('©', 3) == 2",
        "'ta©o©αT'.lastIndexOf('©αT', 4) == 4 && 'hello mellow'.lastIndexOf('ello', 6) == 1",
        "'TacoCat'.lowerAscii() == 'tacocat' && 'TacoCÆt Xii'.lowerAscii() == 'tacocÆt xii' && 'å'.upperAscii() == 'å'",
        "'tacoCat'.upperAscii() == 'TACOCAT' && '  \\t\\r\\ntrim\\u2000 '.trim() == 'trim'",
        "'hello hello'.replace('he', 'we') == 'wello wello' && 'hello hello'.replace('he', 'we', 1) == 'wello hello'",
        "'hello hello'.replace('he', 'we', -1) == 'wello wello' && 'hello hello'.replace('he', 'we', 0) == 'hello hello'",
        "'hello hello'.replace('', '_') == '_h_e_l_l_o_ _h_e_l_l_o_' && 'ab'.replace('', '_', 2) == '_a_b'",
        "'hello hello hello'.split(' ') == ['hello', 'hello', 'hello'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'a,b'.split(',', 0) == [] && 'a,b'.split(',', 1) == ['a,b'] && 'a,b'.split(',', -1) == ['a', 'b']",
        "'åb'.split('') == ['å', 'b'] && 'abc'.split('', 2) == ['a', 'bc'] && ''.split(',') == ['']",
        "'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco' && '©αT'.substring(1, 2) == 'α'",
        "'tacocat'.substring(7) == '' && ['x', 'y'].join() == 'xy' && ['x', 'y'].join('-') == 'x-y' && [].join() == ''",
        "'a@B.example'.lowerAscii().split('@')[1].endsWith('.example') && 'gums'.reverse() == 'smug'",
        "payload.to.contains('@') && payload.to.endsWith('m>') && payload.to.startsWith('Å')",
        "payload.tags.map(t, t.upperAscii()).join('+') == 'A+B' && payload.tags.join(',').size() == 3",
    ], &json!({"to": "Åsa <asa@example.com>", "tags": ["a", "b"]}));
    #[rustfmt::skip]
    check(&[
        ("payload.x.trim() == ''", json!({"x": 1}), WRONG),
        ("payload.x.join() == ''", json!({"x": [1]}), WRONG),
    ]);
    #[rustfmt::skip]
    never(&[
        ("'tacocat'.charAt(8) == ''", RANGE),
        ("'tacocat'.charAt(-1) == ''", RANGE),
        ("'tacocat'.indexOf('a', -1) == 0", RANGE),
        ("'tacocat'.indexOf('a', 30) == 0", RANGE),
        ("'tacocat'.lastIndexOf('a', 30) == 0", RANGE),
        ("'tacocat'.substring(40) == ''", RANGE),
        ("'tacocat'.substring(-1) == ''", RANGE),
        ("'tacocat'.substring(1, 50) == ''", RANGE),
        ("'tacocat'.substring(3, 1) == ''", RANGE),
    ]);
}

#[test]
fn a_pattern_is_found_anywhere() {
    let payload = json!({"to": "Åsa Öberg <asa@example.com>"});
    #[rustfmt::skip]
    check(&[
        ("payload.to.matches('@example[.]com>$')", payload.clone(), True),
        ("matches(payload.to, '^asa')", payload.clone(), False),
        ("payload.to.matches('^.sa .berg')", payload.clone(), True),
        ("payload.to.matches('(?i)ASA@')", payload.clone(), True),
        ("payload.to.matches(r'^\\w')", payload.clone(), False),
        ("summary.matches('^Refund')", payload, True),
    ]);
}

#[test]
fn what_can_never_be_evaluated_is_found_with_its_place() {
    #[rustfmt::skip]
    let rows = [
        ("amount <= 20", "unknown variable `amount`", "amount", "`payload.amount`"),
        ("acton == 'x'", "unknown variable `acton`", "acton", "did you mean `action`?"),
        ("payload.items.all(item, itm > 1)", "unknown variable `itm`", "itm", "did you mean `item`?"),
        ("action == 'x' && frobnicate(payload)", "unknown function `frobnicate`", "frobnicate", ""),
        ("action.startWith('x')", "unknown function `startWith`", "startWith", "`startsWith`"),
        ("action.trim().lowerAsci() == 'x'", "unknown function `lowerAsci`", "lowerAsci", "`lowerAscii`"),
        ("startsWith(action, 'x')", "is called on a value", "startsWith", ""),
        ("action.int() == 1", "is not called on a value", "int", ""),
        ("action.startsWith()", "takes 1 arguments, but here are 0", "action.startsWith()", ""),
        ("'a'.substring(1, 2, 3) == ''", "takes 1 to 2 arguments, but here are 3", "'a'.substring(1, 2, 3)", ""),
        ("payload.items.all(i)", "is not called like this", "all", "list.all(item, condition)"),
        ("payload.has(x)", "is not called like this", "has", "has(payload.field)"),
        ("action && true", "`&&` needs true or false, but this is a text", "action", ""),
        ("true && !(action)", "`!` needs true or false", "!(action)", ""),
        ("false || 1 + 1", "`||` needs true or false, but this is a whole number", "1 + 1", ""),
        ("payload.amount + 1", "must be true or false, but this is a number", "payload.amount + 1", ""),
        ("action", "must be true or false, but this is a text", "action", ""),
        ("payload", "must be true or false, but this is the whole payload", "payload", ""),
        ("now", "must be true or false, but this is a time", "now", ""),
        ("payload.items.map(i, i)", "must be true or false, but this is a list", "payload.items.map(i, i)", ""),
        ("action == 5", "never alike", "action == 5", ""),
        ("client == 'x' && size(summary) == '5'", "never alike", "size(summary) == '5'", ""),
        ("payload.due < now", "never alike", "payload.due < now", "timestamp("),
        ("now - payload.asked < duration('1h')", "`-` cannot take a time and", "now - payload.asked", "timestamp("),
        ("action < 5", "never alike", "action < 5", ""),
        ("payload == 5", "never alike", "payload == 5", ""),
        ("metadata.run == 7", "never alike", "metadata.run == 7", ""),
        ("payload.n % 2 == 0", "`%` cannot take", "payload.n % 2", "int("),
        ("size(payload.items) * payload.price > 1", "`*` cannot take", "size(payload.items) * payload.price", "double("),
        ("'a' + 1 == 'a1'", "`+` cannot take a text and a whole number", "'a' + 1", ""),
        ("action.x == 1", "reads a field", "action.x", ""),
        ("metadata.run.x == 1", "reads a field", "metadata.run.x", ""),
        ("action['x'] == 1", "reads from a list or a map", "action['x']", ""),
        ("payload[1] == 1", "cannot look the whole payload up with", "payload[1]", ""),
        ("action.all(c, c == 'x')", "only lists and maps have items", "action", ""),
        ("'a' in action", "`in` looks into", "'a' in action", ""),
        ("action in [1, 2]", "never true", "action in [1, 2]", ""),
        ("payload.name.substring(payload.n) == ''", "`substring` needs a whole number", "payload.n", "int("),
        ("payload.due.getHours() > 8", "`getHours` needs a time", "payload.due", "timestamp("),
        ("payload.to.matches(payload.pattern)", "must be written in the policy", "payload.pattern", "sender"),
        ("payload.to.matches('(?i)müller')", "ASCII letters only", "'(?i)müller'", ""),
        ("payload.to.matches('(')", "without its `)`", "'('", ""),
        ("payload.to.matches('(a{100}){100}')", "multiplied", "'(a{100}){100}'", ""),
        ("matches(action)", "takes a text and a pattern", "matches", ""),
        ("Foo{a: 1} == 1", "unknown type `Foo`", "Foo", ""),
        ("-action == 'x'", "`-` needs a number", "-action", ""),
        // What people write who come from other languages.
        ("action == 'x' and client == 'y'", "`and` means nothing", "and", "`&&`"),
        ("action == 'x' OR client == 'y'", "`OR` means nothing", "OR", "`||`"),
        ("not (action == 'x')", "`not` means nothing", "not", "`!`"),
        ("not payload.flag", "`not` means nothing", "not", "`!`"),
        ("action = 'x'", "`=` means nothing", "=", "`==`"),
        ("payload.flag == True", "`True` means nothing", "True", "`true`"),
        ("payload.x == None", "`None` means nothing", "None", "`null`"),
        ("action & client", "`&` is not an operator", "&", "`&&`"),
        ("action | client", "`|` is not an operator", "|", "`||`"),
        ("payload.n ≤ 5", "`≤` is not an operator", "≤", "`<=`"),
        ("action == “x”", "typographic", "“", "'text'"),
        ("action == 'x", "not closed", "'", "'text'"),
        ("payload.müller == 1", "cannot be part of a name", "ü", "payload['…']"),
        ("action == 'x' @", "means nothing", "@", ""),
        ("action ==", "ends too early", "", ""),
        ("(action == 'x'", "expected `)`", "", ""),
        ("action == 'x')", "`)` was not expected here", ")", ""),
        ("", "the condition is empty", "", "leave `when` out"),
        ("   ", "the condition is empty", "   ", "leave `when` out"),
    ];
    for (source, message, part, help) in rows {
        let (told, at, advice) = fault(source);
        assert!(told.contains(message), "{source}: {told}");
        assert_eq!(at, part, "{source}: {told}");
        assert!(advice.contains(help), "{source}: {told} ({advice})");
        assert!(!told.ends_with('.') && !told.contains("Syntax"), "{source}: {told}");
    }
}

#[test]
fn several_faults_are_told_at_once_each_at_its_own_place() {
    let source = "acton == 'x' && payload.n.foo() && amount > 1";
    let faults = compile(source).map(|_| ()).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| &source[fault.span.clone()]).collect();
    assert_eq!(places, ["acton", "foo", "amount"]);
    // The second of two equal words is the one that is meant.
    let source = "payload.x == 1 && x == 1";
    let faults = compile(source).map(|_| ()).unwrap_err();
    assert_eq!(faults[0].span, 18..19);
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let warnings = |source: &str| {
        let (_, findings) = compile(source).unwrap();
        findings.warnings.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
    };
    assert!(warnings("type(payload.amount) == int && payload.amount < 3")[0].contains("never true"));
    assert!(warnings("int == type(payload['amount'])")[0].contains("never true"));
    assert_eq!(warnings("type(payload.amount) == double && type(int(payload.x)) == int"), [""; 0]);
    assert!(warnings("false")[0].contains("never holds"));
    assert_eq!(warnings("true"), [""; 0]);
}

#[test]
fn which_side_a_number_is_held_in_from_is_known() {
    let bounds = |source: &str| {
        let (_, findings) = compile(source).unwrap();
        findings.bounds.into_iter().map(|(path, bound)| (path, bound.lower, bound.upper)).collect::<Vec<_>>()
    };
    let amount = "payload.amount".to_owned();
    for (source, lower, upper) in [
        ("payload.amount <= 20", false, true),
        ("20 > payload.amount", false, true),
        ("payload['amount'] < 20.5", false, true),
        ("int(payload.amount) <= 20", false, true),
        ("payload.amount >= 20", true, false),
        ("-5 < payload.amount", true, false),
        ("!(payload.amount > 20)", false, true),
        ("!(!(payload.amount > 20))", true, false),
        ("payload.amount > 0 && payload.amount <= 20", true, true),
        ("payload.amount == 20", true, true),
        ("payload.amount in [5, 10]", true, true),
    ] {
        assert_eq!(bounds(source), [(amount.clone(), lower, upper)], "{source}");
    }
    // Where it is read first is where the warning points.
    let source = "action == 'pay' && payload.amount > 0 && payload.amount <= 20";
    let (_, findings) = compile(source).unwrap();
    assert_eq!(&source[findings.bounds[&amount].span.clone()], "payload.amount > 0");
    assert_eq!(bounds("payload.amount != 5 && action == 'x' && size(payload.items) < 5"), []);
}

#[test]
fn which_side_every_item_of_a_list_and_a_total_is_held_in_from_is_known() {
    let bounds = |source: &str| {
        let (_, findings) = compile(source).unwrap();
        findings
            .bounds
            .into_iter()
            .map(|(path, bound)| {
                let is_path = path.starts_with("payload") || path.starts_with("total");
                let path = if is_path { path.as_str() } else { "made" };
                format!("{path} {} {} {}", bound.shown, bound.lower, bound.upper)
            })
            .collect::<Vec<_>>()
    };
    #[rustfmt::skip]
    let rows: [(&str, &[&str]); 27] = [
        ("payload.items.all(i, i.price <= 20)", &["payload.items[].price i.price false true"]),
        ("payload.items.all(i, i.price > 0)", &["payload.items[].price i.price true false"]),
        ("payload.items.all(i, i['price'] > 0 && 20 >= double(i.price))", &["payload.items[].price i.price true true"]),
        ("payload.items.all(i, i.price > 0) && payload.items.all(x, x.price <= 20)", &["payload.items[].price i.price true true"]),
        ("payload.a.all(i, i > 0) && payload.b.all(i, i <= 20)", &["payload.a[] i true false", "payload.b[] i false true"]),
        ("payload.items.all(i, i.price in [5, 10])", &["payload.items[].price i.price true true"]),
        ("!payload.items.exists(i, i.price > 20)", &["payload.items[].price i.price false true"]),
        ("!payload.items.exists(i, i.price > 20 || i.price < 0)", &["payload.items[].price i.price true true"]),
        ("!(!payload.items.all(i, i.price <= 20))", &["payload.items[].price i.price false true"]),
        ("payload.rows.all(r, r.cells.all(c, c.n < 5))", &["payload.rows[].cells[].n c.n false true"]),
        ("payload.prices.all(k, payload.prices[k] <= 20)", &["payload.prices[k] payload.prices[k] false true"]),
        ("['a', 'b'].all(k, payload[k] <= 20)", &["payload[k] payload[k] false true"]),
        ("[payload.a, payload.b].all(n, n <= 20)", &["made n false true"]),
        ("payload.items.filter(i, i.kind == 'x').all(i, i.price <= 20)", &["made i.price false true"]),
        ("payload.a.filter(i, i.ok).all(i, i.n > 0) && payload.a.filter(x, x.ok).all(x, x.n < 9)", &["made i.n true true"]),
        ("payload.a.filter(i, i.ok).all(i, i.n > 0) && payload.b.filter(x, x.ok).all(x, x.n < 9)", &["made i.n true false", "made x.n false true"]),
        ("payload.items[0].price <= 20", &["payload.items[0].price payload.items[0].price false true"]),
        // One item, or some, are not all of them; and what the policy itself writes needs no limit.
        ("payload.items.exists(i, i.price <= 20)", &[]),
        ("!payload.items.all(i, i.price <= 20)", &[]),
        ("payload.items.exists_one(i, i.price <= 20)", &[]),
        ("payload.items.exists(i, i.parts.all(p, p.n <= 20))", &[]),
        ("payload.items.exists(k, payload.prices[k] <= 20)", &[]),
        ("[1, 2].all(n, n <= 20)", &[]),
        (r#"total("payload.amount", "24h") <= 100"#, &["payload.amount payload.amount false true", r#"total("payload.amount", "24h") total("payload.amount", "24h") true true"#]),
        (r#"payload.amount > 0 && !(total("payload.amount", "24h") > 100)"#, &["payload.amount payload.amount true true", r#"total("payload.amount", "24h") total("payload.amount", "24h") true true"#]),
        (r#"100 < total("payload.amount", "24h")"#, &["payload.amount payload.amount false false", r#"total("payload.amount", "24h") total("payload.amount", "24h") true false"#]),
        (r#"count("1h") < 3"#, &[]),
    ];
    for (source, held) in rows {
        assert_eq!(bounds(source), held, "{source}");
    }
}

/// A list as long as a payload can hold, and one of 1,800 small items.
fn long() -> Json {
    json!({"items": vec![1; 1800], "many": vec![1; 30_000], "text": "a".repeat(60_000)})
}

#[test]
fn a_condition_that_takes_too_many_steps_cannot_be_evaluated() {
    let payload = long();
    for source in [
        "payload.items.all(a, payload.items.all(b, a + b > 0))",
        "payload.items.all(a, payload.items.all(b, payload.items.all(c, a + b + c > 0)))",
        "payload.items.exists_one(a, payload.items.exists_one(b, a == b))",
        "payload.items.map(a, payload.items.map(b, a)).size() == 1",
        "payload.items.filter(a, payload.items.exists(b, b > a)).size() == 0",
        "payload.items.all(a, a + 1 in payload.items.map(b, b + 1))",
        "payload.items.all(a, payload.many == payload.many)",
        "payload.items.all(a, payload.text.contains('b') == false)",
        "payload.items.all(a, payload.text.replace('a', 'bbbbbbbbbbbbbbbbbbbb') != '')",
        "payload.items.all(a, payload.text.split('').size() > 0)",
        "payload.items.all(a, size(payload.text) > 0)",
        "payload.items.all(a, payload.text + payload.text != '')",
        "payload.items.all(a, payload.text.matches('b$') == false)",
        "payload.text.matches('(?:a?){100}b')",
        "payload.items.all(a, payload.items.map(b, payload.text).join('') != '')",
        "payload.items.all(a, payload.many + payload.many != [])",
        "payload.items.all(a, !(2 in payload.many))",
        "payload.many.all(a, now.getHours('Europe/Berlin') < 24)",
        "payload.many.all(a, timestamp('2026-11-26T18:11:22.25Z') <= now)",
        "payload.many.all(a, string(payload.many[0] + 0.1) != '')",
        "payload.items.all(a, 'a,a,a,a,a,a,a,a'.replace('a', payload.text) != '')",
        // Neither a true nor a false nor another error beside it hides that.
        "payload.missing == 1 || payload.items.all(a, payload.items.all(b, a + b > 0)) || true",
        "payload.items.all(a, payload.items.all(b, a + b > 0)) || true",
        "false && true || payload.items.all(a, payload.items.all(b, a + b > 0)) || action != ''",
    ] {
        let verdict = test(source, &payload);
        // Settled before the costly side is looked at, or too many steps: never anything else.
        assert_eq!(verdict, TOO_MANY, "{source}");
    }
}

#[test]
fn a_long_list_may_be_looked_through() {
    let payload = long();
    holds(
        &[
            "payload.many.all(i, i < 5)",
            "payload.items.all(i, i > 0 && i < 10 && i != 5)",
            "payload.items.map(i, i + 1).filter(i, i > 1).size() == 1800",
            "payload.many == payload.many && 1 in payload.many && !(2 in payload.many)",
            "payload.text.contains('aaa') && payload.text.startsWith('a') && size(payload.text) == 60000",
            "!payload.text.matches('b')",
        ],
        &payload,
    );
}

#[test]
fn the_deepest_condition_is_read_and_evaluated_on_the_smallest_stack() {
    type Shape = (&'static str, fn(usize) -> String);
    let shapes: [Shape; 9] = [
        ("parentheses", |n| format!("{}true{}", "(".repeat(n), ")".repeat(n))),
        ("negations", |n| format!("{}true", "!".repeat(n))),
        ("minus signs", |n| format!("{}1 == 1", "- ".repeat(n))),
        ("sums", |n| format!("1{} > 0", " + 1".repeat(n))),
        ("fields", |n| format!("has(payload.x{}) || true", ".x".repeat(n))),
        ("lists", |n| format!("{}1{} != []", "[".repeat(n), "]".repeat(n))),
        ("branches", |n| format!("{}true", "true ? true : ".repeat(n))),
        ("loops", |n| format!("{}true{}", "[1].all(a, ".repeat(n), ")".repeat(n))),
        ("calls", |n| format!("action{} == ''", ".trim()".repeat(n))),
    ];
    for (name, shape) in shapes {
        let deepest = (1..200).take_while(|n| compile(&shape(*n)).is_ok()).last().unwrap_or(0);
        assert!(deepest >= 8, "{name}: {deepest}");
        assert!(deepest <= 2 * MAX_DEPTH, "{name}: {deepest}");
        for n in [deepest, deepest + 1, 100_000] {
            let source = shape(n);
            let on_a_small_stack = std::thread::Builder::new().stack_size(256 * 1024).spawn(move || {
                let payload = json!({});
                let metadata = BTreeMap::new();
                let question = Question {
                    client: "c",
                    action: "a",
                    summary: "s",
                    payload: &payload,
                    metadata: &metadata,
                    now: Timestamp::from_millis(0),
                };
                Condition::unchecked(&source).test(&question, &Earlier::new(), &Budget::of_one_request())
            });
            let verdict = on_a_small_stack.unwrap().join().unwrap_or_else(|_| panic!("{name} {n}"));
            assert_eq!(verdict == Verdict::Error(EvalError::NotCompiled), n > deepest, "{name} {n}");
        }
    }
}

#[test]
fn a_long_row_of_alternatives_is_not_deep() {
    let row = vec!["action == 'refund.create'"; 200].join(" || ");
    assert_eq!(test(&row, &json!({})), True);
    let (told, ..) = fault(&vec!["action == 'x'"; 600].join(" || "));
    assert!(told.contains("longer than") || told.contains("more than"), "{told}");
}

#[test]
fn errors_say_nothing_of_the_payload() {
    let payload = json!({"secret": "hunter2", "n": 4242});
    for source in [
        "payload.secret < 1",
        "int(payload.secret) > 1",
        "payload.secret.hunter == 1",
        "payload[string(payload.n)] == 1",
    ] {
        let Verdict::Error(error) = test(source, &payload) else { panic!("{source}") };
        let told = error.to_string();
        assert!(!told.contains("hunter") && !told.contains("4242"), "{told}");
        assert!(told.starts_with(char::is_lowercase) && !told.ends_with('.'), "{told}");
    }
}

/// What the `cel` crate's own evaluator says, with JSON numbers as doubles.
fn reference(source: &str, payload: &Json) -> Result<bool, ()> {
    fn value(json: &Json) -> cel::Value {
        match json {
            Json::Null => cel::Value::Null,
            Json::Bool(flag) => cel::Value::Bool(*flag),
            Json::Number(number) => cel::Value::Float(number.as_f64().unwrap()),
            Json::String(text) => cel::Value::String(std::sync::Arc::new(text.clone())),
            Json::Array(items) => cel::Value::List(std::sync::Arc::new(items.iter().map(value).collect())),
            Json::Object(entries) => {
                let entries = entries.iter().map(|(key, item)| (key.clone(), value(item)));
                cel::Value::Map(entries.collect::<std::collections::HashMap<_, _>>().into())
            }
        }
    }
    let program = Program::compile(source).map_err(|_| ())?;
    let mut context = Context::default();
    context.add_variable("payload", value(payload)).map_err(|_| ())?;
    match program.execute(&context) {
        Ok(cel::Value::Bool(truth)) => Ok(truth),
        _ => Err(()),
    }
}

fn expressions() -> impl Strategy<Value = String> {
    let atoms = prop::sample::select(vec![
        "1",
        "2",
        "0",
        "-1",
        "1.5",
        "2.0",
        "'a'",
        "'b'",
        "''",
        "true",
        "false",
        "null",
        "[1, 2]",
        "['a']",
        "[]",
        "payload.n",
        "payload.s",
        "payload.l",
        "payload.m",
        "payload.m.k",
        "payload.missing",
        "payload.f",
    ])
    .prop_map(str::to_owned);
    atoms.prop_recursive(3, 24, 3, |inner| {
        let binary = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "&&", "||", "in",
        ]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, sign, b)| format!("({a} {sign} {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("size({a})")),
            inner.clone().prop_map(|a| format!("double({a})")),
            (
                inner.clone(),
                prop::sample::select(vec!["all", "exists", "exists_one", "filter", "map"]),
                inner.clone()
            )
                .prop_map(|(a, name, b)| format!("{a}.{name}(x, x == {b})")),
            (inner.clone(), prop::sample::select(vec!["startsWith", "endsWith", "contains"]), inner.clone())
                .prop_map(|(a, name, b)| format!("({a}).{name}({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("[{a}, {b}]")),
        ]
    })
}

#[test]
fn conditions_mean_what_the_cel_crates_own_evaluator_says() {
    let payload = json!({"n": 2, "s": "ab", "l": [1, "a", 2.5], "m": {"k": "v"}, "f": false});
    let metadata = BTreeMap::new();
    proptest!(ProptestConfig::with_cases(2000), |(source in expressions())| {
        let Ok((condition, _)) = Condition::compile(&source) else {
            // What is refused at load must not be something that the other calls true or false without fail... except
            // where one side of `&&`, `||` or `? :` hides a fault, which is no reason to write it.
            return Ok(());
        };
        let question = Question {
            client: "c", action: "a", summary: "s", payload: &payload, metadata: &metadata,
            now: Timestamp::from_millis(0),
        };
        let own = condition.test(&question, &Earlier::new(), &Budget::of_one_request());
        match reference(&source, &payload) {
            Ok(truth) => prop_assert_eq!(own, if truth { True } else { False }, "{}", source),
            // A written whole number beside a double is the one thing that is taken here and not there.
            Err(()) if source.contains(['+', '-', '*', '/']) => {}
            Err(()) => prop_assert!(matches!(own, Verdict::Error(_)), "{} {:?}", source, own),
        }
    });
}

#[test]
fn no_text_panics() {
    let payload = json!({"n": 2, "s": "ab"});
    proptest!(|(text in "\\PC{0,40}", soup in "[a-z0-9 .,()\\[\\]{}'\"!=<>&|?:+*/%`\\\\éüß-]{0,40}", at: prop::sample::Index)| {
        let _ = compile(&text);
        let _ = compile(&soup);
        let whole = "payload.s.startsWith('é') && payload.n + 1 < 3 ? [1, 'ü'].exists(x, x == payload.s) : has(payload.n)";
        let mut torn = whole.to_owned();
        let at = (0..=at.index(torn.len())).rev().find(|at| torn.is_char_boundary(*at)).unwrap();
        torn.insert_str(at, &soup);
        if let Ok((condition, _)) = Condition::compile(&torn) {
            let metadata = BTreeMap::new();
            let question = Question {
                client: "c", action: "a", summary: "s", payload: &payload, metadata: &metadata,
                now: Timestamp::from_millis(0),
            };
            let _ = condition.test(&question, &Earlier::new(), &Budget::of_one_request());
        }
    });
}

#[test]
fn a_constant_that_can_never_be_read_is_a_fault_at_its_place() {
    #[rustfmt::skip]
    let rows = [
        ("now.getHours(\"Europe/Berln\") >= 0", "\"Europe/Berln\"", "did you mean `Europe/Berlin`?"),
        ("now.getHours('nowhere at all') >= 0", "'nowhere at all'", "such as `Europe/Berlin`"),
        ("timestamp(payload.t).getDate('') > 1", "''", "such as `Europe/Berlin`"),
        ("now > timestamp(\"2026-01-01\")", "\"2026-01-01\"", "did you mean `2026-01-01T00:00:00Z`?"),
        ("now > timestamp('soon')", "'soon'", "date, time and zone"),
        ("now - duration(\"1 day\") > now", "\"1 day\"", "a day is `24h`"),
        ("int(\"abc\") > 0", "\"abc\"", "such as `42`"),
        ("true || uint('-1') > 0u", "'-1'", "such as `42u`"),
        ("double('a lot') > 0.0", "'a lot'", "such as `4.5`"),
        ("bool('yes')", "'yes'", "`true` or `false`"),
        ("payload.to.substring(5, 2) == 'a'", "payload.to.substring(5, 2", "counted from 0"),
        ("payload.to.charAt(-1) == 'a'", "payload.to.charAt(-1", "counted from 0"),
    ];
    for (source, part, help) in rows {
        let (message, found, told) = fault(source);
        assert_eq!(found, part, "{source}: {message}");
        assert!(told.contains(help), "{source}: {told}");
    }
    let fine = [
        "now.getHours('+02:00') == 20 && timestamp('2026-01-01T00:00:00Z') < now && int('42') == 42",
        "duration('24h') > duration('90m') && double('4.5') > 4.0 && payload.to.substring(0, 2) == 'ab'",
        "payload.to.charAt(2) == 'c' && payload.to.indexOf('c', 1) == 2",
    ];
    holds(&fine, &json!({"to": "abc"}));
}

#[test]
fn an_installed_condition_keeps_its_meaning_beside_a_constant_that_fails() {
    let source = "action == 'x' && int('abc') > 0";
    assert!(Condition::compile(source).is_err());
    assert_eq!(evaluate(&Condition::unchecked(source), &json!({})), False);
}
