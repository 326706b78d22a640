//! The order in which people count: `dev2` comes before `dev10`.

use std::cmp::Ordering;

/// Compares two names; digits in them count as the numbers that they are.
pub fn natural_order(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        let (Some(first), Some(second)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| one.cmp(other));
        };
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let ((one, after_one), (other, after_other)) = (number(left), number(right));
            (left, right) = (after_one, after_other);
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        } else {
            (left, right) = (&left[first.len_utf8()..], &right[second.len_utf8()..]);
            first.cmp(&second)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits at the beginning, without leading zeros, and the rest.
fn number(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.trim_start_matches('0'), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_in_which_people_count() {
        let sorted = [
            "",
            "9",
            "a",
            "dev",
            "dev0",
            "dev1",
            "dev2",
            "dev02",
            "dev2a",
            "dev9-1",
            "dev9-10",
            "dev10",
            "dev18446744073709551616",
            "device",
            "温度2",
            "温度10",
        ];
        let mut names: Vec<&str> = sorted.iter().rev().copied().collect();
        names.sort_by(|one, other| natural_order(one, other));
        assert_eq!(
            names,
            [
                "",
                "9",
                "a",
                "dev",
                "dev0",
                "dev1",
                "dev02",
                "dev2",
                "dev2a",
                "dev9-1",
                "dev9-10",
                "dev10",
                "dev18446744073709551616",
                "device",
                "温度2",
                "温度10"
            ]
        );
        assert_eq!(natural_order("dev2", "dev2"), Ordering::Equal);
        assert_eq!(natural_order("dev2", "dev02"), Ordering::Greater, "the order is total");
    }
}
