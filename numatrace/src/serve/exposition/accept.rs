//! What a client can read, by the `Accept` and `Accept-Encoding` of its request.

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Prometheus' own text, version 0.0.4: for anyone who does not ask for something else.
    Text,
    /// Prometheus' protocol buffers, which alone have native histograms.
    Protobuf,
}

impl Format {
    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// The one that an `Accept` prefers; the first of those that it prefers alike.
    pub fn negotiate(accept: Option<&str>) -> Format {
        let mut best = (Format::Text, 0.0);
        for range in accept.unwrap_or_default().split(',') {
            let (kind, quality, parameters) = parse(range);
            let Some(format) = offered(&kind, &parameters) else { continue };
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

/// The media type in small letters, its quality, and its other parameters.
fn parse(range: &str) -> (String, f32, Vec<(String, String)>) {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let mut quality = 1.0;
    let mut parameters = Vec::new();
    for part in parts {
        let Some((name, value)) = part.split_once('=') else { continue };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        if name == "q" {
            quality = value.parse().ok().filter(|q: &f32| (0.0..=1.0).contains(q)).unwrap_or(0.0);
        } else {
            parameters.push((name, value.to_owned()));
        }
    }
    (kind, quality, parameters)
}

fn offered(kind: &str, parameters: &[(String, String)]) -> Option<Format> {
    let value = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    match kind {
        "application/openmetrics-text" => {
            matches!(value("version"), None | Some("1.0.0" | "0.0.1")).then_some(Format::OpenMetrics)
        }
        "application/vnd.google.protobuf" => (value("proto") == Some("io.prometheus.client.MetricFamily")
            && value("encoding") == Some("delimited"))
        .then_some(Format::Protobuf),
        "text/plain" => matches!(value("version"), None | Some("0.0.4")).then_some(Format::Text),
        "text/*" | "*/*" => Some(Format::Text),
        _ => None,
    }
}

/// Whether an `Accept-Encoding` allows gzip.
pub fn wants_gzip(accept_encoding: Option<&str>) -> bool {
    let mut any = false;
    for range in accept_encoding.unwrap_or_default().split(',') {
        let (coding, quality, _) = parse(range);
        match coding.as_str() {
            "gzip" | "x-gzip" => return quality > 0.0,
            "*" => any = quality > 0.0,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_gets_what_it_prefers() {
        let text_first = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::negotiate(Some(text_first)), Format::OpenMetrics);
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                      application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        assert_eq!(Format::negotiate(Some(native)), Format::Protobuf);
    }

    #[test]
    fn all_others_get_text() {
        for accept in [
            None,
            Some("*/*"),
            Some("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
            Some("application/openmetrics-text;version=2.0.0"),
            Some("application/vnd.google.protobuf;encoding=text"),
            Some("application/openmetrics-text;q=NaN"),
            Some(";;;=,,q"),
        ] {
            assert_eq!(Format::negotiate(accept), Format::Text, "{accept:?}");
        }
    }

    #[test]
    fn gzip_only_where_it_is_asked_for() {
        assert!(wants_gzip(Some("gzip")));
        assert!(wants_gzip(Some("br;q=1.0, gzip;q=0.8, *;q=0.1")));
        assert!(wants_gzip(Some("*")));
        assert!(!wants_gzip(None));
        assert!(!wants_gzip(Some("identity")));
        assert!(!wants_gzip(Some("gzip;q=0, *")));
    }
}
