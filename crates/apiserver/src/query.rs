//! The query of a request: decoding as Go's `net/url` does it, and typed access to common options.

/// The decoded parameters of a request, in order.
///
/// Pairs that cannot be decoded, and pairs with a semicolon, are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes the text behind the `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((unescape(name, true)?, unescape(value, true)?))
            })
            .collect();
        Self { pairs }
    }

    /// The parameters as text, for passing them on.
    pub(crate) fn encoded(&self) -> String {
        let pairs = self
            .pairs
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The first value of a parameter; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// True when the parameter is there and is not one of the words for false. An empty value is true.
    ///
    /// Source: kubernetes `apimachinery/pkg/runtime/conversion.go`.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)
            .map(|value| !matches!(value.to_ascii_lowercase().as_str(), "0" | "false"))
    }

    /// A whole number; `None` when absent.
    ///
    /// Errors: the value as it stands, when it is not a number of 64 bits.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| text.to_owned()),
        }
    }
}

/// The text with percent encoding, but for letters, digits and `-._~`.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

/// Undoes percent encoding; `None` when it is broken or does not give UTF-8. In queries a `+` is a space.
pub(crate) fn unescape(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| d.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_pairs_are_left_out_and_the_rest_is_kept() {
        let query = Query::parse("%zz&a=1;b=2&c=x+y&d=%C3%A9&c=2&e");
        assert_eq!(query.get("a"), None);
        assert_eq!(query.all("c").collect::<Vec<_>>(), ["x y", "2"]);
        assert_eq!(query.get("d"), Some("é"));
        assert_eq!(query.get("e"), Some(""));
    }

    #[test]
    fn parameters_are_passed_on_as_they_were_meant() {
        let query = Query::parse("a=x+y&b=%26&c");
        assert_eq!(query.encoded(), "a=x%20y&b=%26&c=");
        assert_eq!(Query::parse(&query.encoded()), query);
    }

    #[test]
    fn flags_are_true_unless_they_say_false() {
        let query = Query::parse("a=banana&b=false&c=0&d=&e=False");
        let flags = ["a", "b", "c", "d", "e", "f"].map(|name| query.flag(name));
        assert_eq!(
            flags,
            [Some(true), Some(false), Some(false), Some(true), Some(false), None]
        );
    }

    #[test]
    fn numbers_are_whole_or_refused_as_written() {
        let query = Query::parse("limit=5&bad=x&none=");
        assert_eq!(query.integer("limit"), Ok(Some(5)));
        assert_eq!(query.integer("bad"), Err("x".to_owned()));
        assert_eq!(query.integer("none"), Err(String::new()));
        assert_eq!(query.integer("absent"), Ok(None));
    }
}
