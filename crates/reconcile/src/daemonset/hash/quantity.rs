//! The dump of a Go quantity: how its text was read leaves traces in its fields.
//!
//! Source: specification §16.2 (Quantity).

use std::fmt::Write as _;

/// A quantity's text, taken apart.
struct Parts<'a> {
    negative: bool,
    /// Integer digits without leading zeros, at least one.
    whole: &'a str,
    fraction: &'a str,
    suffix: Suffix,
}

#[derive(Clone, Copy)]
enum Suffix {
    /// A power of ten.
    Decimal(i32),
    /// A power of ten written with e or E.
    Exponent(i32),
    /// A power of two.
    Binary(u32),
}

/// Appends the dump of the quantity with this text. A text that is none, which validation keeps out, is dumped as 0.
pub(super) fn dump(out: &mut String, text: &str) {
    let zero = Parts {
        negative: false,
        whole: "0",
        fraction: "",
        suffix: Suffix::Decimal(0),
    };
    let parts = parse(text.trim()).unwrap_or(zero);
    let format = match parts.suffix {
        Suffix::Decimal(_) => "DecimalSI",
        Suffix::Exponent(_) => "DecimalExponent",
        Suffix::Binary(_) => "BinarySI",
    };
    let (small, large, cached) = match quick(&parts) {
        Some((value, scale)) => (
            format!("value:(int64){value} scale:(resource.Scale){scale}"),
            "(*inf.Dec)<nil>".to_owned(),
            if keeps_spelling(&parts, scale) { text.trim() } else { "" },
        ),
        None => ("value:(int64)0 scale:(resource.Scale)0".to_owned(), slow(&parts), ""),
    };
    write!(
        out,
        "{{i:(resource.int64Amount){{{small}}} d:(resource.infDecAmount){{Dec:{large}}} s:(string){cached} \
         Format:(resource.Format){format}}}"
    )
    .expect("writing into a string cannot fail");
}

fn parse(text: &str) -> Option<Parts<'_>> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let whole = whole.trim_start_matches('0');
    Some(Parts {
        negative,
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        suffix: suffix(rest)?,
    })
}

fn suffix(text: &str) -> Option<Suffix> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(at) = decimal.iter().position(|s| *s == text) {
        return Some(Suffix::Decimal(i32::try_from(at).ok()? * 3 - 9));
    }
    if let Some(at) = binary.iter().position(|s| *s == text) {
        return Some(Suffix::Binary((u32::try_from(at).ok()? + 1) * 10));
    }
    let exponent = text.strip_prefix(['e', 'E'])?;
    Some(Suffix::Exponent(
        exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?,
    ))
}

/// Value and scale, when the number fits upstream's quick way of reading.
fn quick(parts: &Parts<'_>) -> Option<(i64, i32)> {
    let value: i64 = format!("{}{}", parts.whole, parts.fraction).parse().ok()?;
    let value = if parts.negative { -value } else { value };
    match parts.suffix {
        Suffix::Decimal(power) | Suffix::Exponent(power) => {
            let scale = power - i32::try_from(parts.fraction.len()).ok()?;
            (parts.whole.len() + parts.fraction.len() <= 18 && scale >= -9).then_some((value, scale))
        }
        Suffix::Binary(bits) => {
            let digits_max = 14_usize.checked_sub(usize::try_from(bits * 3 / 10).ok()?)?;
            (parts.fraction.is_empty() && parts.whole.len() <= digits_max).then(|| (value << bits, 0))
        }
    }
}

/// Whether the text is kept beside the value: it is then known to be canonical enough.
fn keeps_spelling(parts: &Parts<'_>, scale: i32) -> bool {
    match parts.suffix {
        Suffix::Decimal(_) | Suffix::Exponent(_) => {
            let digits = format!("{}{}", parts.whole, parts.fraction);
            digits == "0" || (scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0'))
        }
        Suffix::Binary(_) => parts.whole.parse::<u64>().is_ok_and(|number| number % 8 != 0),
    }
}

/// The value in billionths as a big number, the way upstream reads everything else.
fn slow(parts: &Parts<'_>) -> String {
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let mut number = Big::default();
    for digit in digits.bytes() {
        number.multiply_add(10, u64::from(digit - b'0'));
    }
    let shift = 9 - i32::try_from(parts.fraction.len()).unwrap_or(9);
    let (tens, bits) = match parts.suffix {
        Suffix::Decimal(power) | Suffix::Exponent(power) => (shift.saturating_add(power), 0),
        Suffix::Binary(bits) => (shift, bits),
    };
    for _ in 0..bits {
        number.multiply_add(2, 0);
    }
    for _ in 0..tens.clamp(0, 64) {
        number.multiply_add(10, 0);
    }
    if tens < 0 {
        number.divide_rounding_up(tens.unsigned_abs().min(64));
    }
    let words: Vec<String> = number.0.iter().map(u64::to_string).collect();
    format!(
        "(*inf.Dec){{unscaled:(big.Int){{neg:(bool){} abs:(big.nat)[{}]}} scale:(inf.Scale)9}}",
        parts.negative,
        words.join(" ")
    )
}

/// A natural number in words of 64 bits, lowest first.
#[derive(Default)]
struct Big(Vec<u64>);

impl Big {
    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for word in &mut self.0 {
            let wide = u128::from(*word) * u128::from(factor) + u128::from(carry);
            *word = wide as u64;
            carry = (wide >> 64) as u64;
        }
        if carry > 0 {
            self.0.push(carry);
        }
    }

    fn divide_rounding_up(&mut self, tens: u32) {
        let mut lost = false;
        for _ in 0..tens {
            let mut rest = 0_u64;
            for word in self.0.iter_mut().rev() {
                let wide = (u128::from(rest) << 64) | u128::from(*word);
                *word = (wide / 10) as u64;
                rest = (wide % 10) as u64;
            }
            lost |= rest > 0;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        if lost {
            self.add_one();
        }
    }

    fn add_one(&mut self) {
        for word in &mut self.0 {
            let (sum, overflowed) = word.overflowing_add(1);
            *word = sum;
            if !overflowed {
                return;
            }
        }
        self.0.push(1);
    }
}
