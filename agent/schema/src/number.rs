//! Numbers of JSON, compared by their value whatever their form, and values in a form that is equal when they are.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Most digits that are shifted to compare two decimals.
const DIGITS: u32 = 30;

/// A text that two values share exactly if they are equal: numbers by value, objects without an order.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => match whole(number) {
            Some(whole) => out.push_str(&whole.to_string()),
            None => out.push_str(&number.to_string()),
        },
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, member) in members {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(member, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

/// The number if it has no fraction, whatever its form.
pub fn whole(number: &Number) -> Option<i128> {
    const EXACT: f64 = 1e38;
    if let Some(value) = number.as_i64() {
        return Some(value.into());
    }
    if let Some(value) = number.as_u64() {
        return Some(value.into());
    }
    number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < EXACT).map(|value| value as i128)
}

/// Which of two numbers is the larger one.
pub fn compare(one: &Number, other: &Number) -> Ordering {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal),
    }
}

/// Whether a number is a multiple of another one, in decimals: 0.3 is one of 0.1.
pub fn is_multiple(number: &Number, of: &Number) -> bool {
    if let (Some(number), Some(of)) = (decimal(number), decimal(of)) {
        let exponent = number.1.min(of.1);
        let shifted =
            |(digits, own): (i128, i32)| digits.checked_mul(10_i128.checked_pow(own.abs_diff(exponent))?);
        if number.1.abs_diff(of.1) <= DIGITS
            && let (Some(number), Some(of)) = (shifted(number), shifted(of))
        {
            return of != 0 && number % of == 0;
        }
    }
    let quotient = number.as_f64().unwrap_or(f64::NAN) / of.as_f64().unwrap_or(f64::NAN);
    quotient.is_finite() && quotient.fract() == 0.0
}

/// Digits and the power of ten by which they are multiplied.
fn decimal(number: &Number) -> Option<(i128, i32)> {
    let text = number.to_string();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().ok()?),
        None => (text.as_str(), 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, exponent - i32::try_from(fraction.len()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn multiples_are_those_of_decimals() {
        for (one, of, expected) in [
            ("0.3", "0.1", true),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("4.5", "1.5", true),
            ("35", "1.5", false),
            ("1e30", "7", false),
            ("12391239123", "1e-8", true),
            ("0", "3", true),
        ] {
            assert_eq!(is_multiple(&number(one), &number(of)), expected, "{one} of {of}");
        }
    }

    #[test]
    fn equal_values_have_one_form() {
        let form = |text: &str| canonical(&serde_json::from_str(text).unwrap());
        assert_eq!(form(r#"{"a":1,"b":[1.0,"1"]}"#), form(r#"{"b":[1,"1"],"a":1e0}"#));
        assert_ne!(form("1"), form("\"1\""));
        assert_ne!(form("0"), form("false"));
        assert_eq!(compare(&number("9007199254740993"), &number("9007199254740992")), Ordering::Greater);
        assert_eq!(compare(&number("1.5"), &number("1")), Ordering::Greater);
    }
}
