//! What Prometheus takes as a name, and the labels of a series.

/// Names and values, by name; the metric's own is among them.
pub(crate) type Labels = Vec<(String, String)>;

pub(crate) const METRIC: &str = "__name__";

/// `checkout.error_rate` becomes `checkout_error_rate`, `2xx` becomes `_2xx`.
pub(crate) fn metric_name(text: &str) -> String {
    legal(text, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// As of a metric, but a colon is none of its characters.
pub(crate) fn label_name(text: &str) -> String {
    legal(text, |c| c.is_ascii_alphanumeric() || c == '_')
}

fn legal(text: &str, is_legal: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(text.chars().map(|c| if is_legal(c) { c } else { '_' }));
    out
}

/// The labels of a series, in the order in which they are sent. Empty ones are none; `external` gives way to `own`.
/// Names that have become one keep all values, as in the translation of OpenTelemetry's names.
pub(crate) fn series(metric: String, own: impl Iterator<Item = (String, String)>, external: &Labels) -> Labels {
    let is_label = |(name, value): &(String, String)| !value.is_empty() && !name.is_empty() && name != METRIC;
    let mut labels: Labels = own.filter(is_label).collect();
    // By value too: a map has no order, and its series is to be the same each time.
    labels.sort_unstable();
    labels.dedup();
    labels.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1.push(';');
            kept.1.push_str(&next.1);
        }
        same
    });
    for (name, value) in external {
        if let Err(at) = labels.binary_search_by(|(own, _)| own.cmp(name)) {
            labels.insert(at, (name.clone(), value.clone()));
        }
    }
    let at = labels.partition_point(|(name, _)| name.as_str() < METRIC);
    labels.insert(at, (METRIC.to_owned(), metric));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_name_has_letters_digits_underscores_and_does_not_begin_with_a_digit() {
        for (text, metric, label) in [
            ("checkout.error_rate", "checkout_error_rate", "checkout_error_rate"),
            ("job:rate:5m", "job:rate:5m", "job_rate_5m"),
            ("2xx", "_2xx", "_2xx"),
            ("größe %", "gr__e__", "gr__e__"),
        ] {
            assert_eq!((metric_name(text).as_str(), label_name(text).as_str()), (metric, label), "{text}");
        }
    }

    #[test]
    fn labels_are_sorted_and_empty_ones_are_none() {
        let own = pairs(&[("zone", "a"), ("Host", "h1"), ("region", ""), ("__name__", "forged")]);
        let labels = series("up".to_owned(), own.into_iter(), &Labels::new());
        assert_eq!(labels, pairs(&[("Host", "h1"), ("__name__", "up"), ("zone", "a")]));
    }

    #[test]
    fn names_that_have_become_one_keep_all_values_in_whatever_order_they_come() {
        let there = pairs(&[("a_b", "2"), ("a_b", "1"), ("a_b", "2")]);
        let back = pairs(&[("a_b", "1"), ("a_b", "2"), ("a_b", "2")]);
        for own in [there, back] {
            let labels = series("up".to_owned(), own.into_iter(), &Labels::new());
            assert_eq!(labels, pairs(&[("__name__", "up"), ("a_b", "1;2")]));
        }
    }

    #[test]
    fn an_external_label_does_not_replace_a_label_of_the_row() {
        let external = pairs(&[("cluster", "eu-1"), ("host", "all")]);
        let labels = series("up".to_owned(), pairs(&[("host", "h1")]).into_iter(), &external);
        assert_eq!(labels, pairs(&[("__name__", "up"), ("cluster", "eu-1"), ("host", "h1")]));
    }
}
