//! A page of Prometheus metrics, read.

use std::collections::BTreeMap;

/// Values by name and labels, as the page has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Page(BTreeMap<String, Vec<(Labels, f64)>>);

type Labels = BTreeMap<String, String>;

impl Page {
    /// Lines that are no samples are passed over.
    pub(super) fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, labels, value)) = sample(line) {
                page.0.entry(name).or_default().push((labels, value));
            }
        }
        page
    }

    /// All of one name, together.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.samples(name).map(|(_, value)| value).sum()
    }

    /// All of one name with this label, by another label.
    pub(super) fn by(
        &self,
        name: &str,
        label: &str,
        only: Option<(&str, &str)>,
    ) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.samples(name) {
            let fits =
                only.is_none_or(|(key, wanted)| labels.get(key).is_some_and(|v| v == wanted));
            if let Some(key) = labels.get(label).filter(|_| fits) {
                *sums.entry(key.clone()).or_default() += value;
            }
        }
        sums
    }

    /// A label of the first sample of a name.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<String> {
        let (labels, _) = self.samples(name).next()?;
        labels.get(label).cloned()
    }

    /// A quantile of what a histogram took in since an earlier page: the bound of the bucket that it is in; `None` where nothing
    /// came.
    pub(super) fn quantile(&self, name: &str, before: &Self, quantile: f64) -> Option<f64> {
        let buckets = |page: &Self| {
            let name = format!("{name}_bucket");
            let mut found: Vec<(f64, f64)> = page
                .samples(&name)
                .filter_map(|(labels, count)| Some((bound(labels.get("le")?)?, *count)))
                .collect();
            found.sort_by(|a, b| a.0.total_cmp(&b.0));
            found
        };
        let (now, before) = (buckets(self), buckets(before));
        let since = |at: usize| {
            let count = |page: &[(f64, f64)]| page.get(at).map_or(0.0, |(_, count)| *count);
            count(&now) - count(&before)
        };
        let all = since(now.len().checked_sub(1)?);
        if all <= 0.0 {
            return None;
        }
        let at = (0..now.len()).find(|at| since(*at) >= all * quantile)?;
        now.get(at).map(|(bound, _)| *bound)
    }

    fn samples(&self, name: &str) -> impl Iterator<Item = &(Labels, f64)> {
        self.0.get(name).into_iter().flatten()
    }
}

fn bound(text: &str) -> Option<f64> {
    if text == "+Inf" {
        return Some(f64::INFINITY);
    }
    text.parse().ok()
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = head.split_once('{') else {
        return Some((head.to_owned(), Labels::new(), value));
    };
    let mut labels = Labels::new();
    let mut rest = rest.strip_suffix('}')?;
    while !rest.is_empty() {
        let (key, quoted) = rest.split_once("=\"")?;
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()? {
                    (_, 'n') => text.push('\n'),
                    (_, other) => text.push(other),
                },
                (_, other) => text.push(other),
            }
        };
        labels.insert(key.to_owned(), text);
        rest = quoted.get(end + 1..)?.trim_start_matches(',');
    }
    Some((name.to_owned(), labels, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let page = Page::read(
            "# HELP a b\na 1\nb{topic=\"x\",dir=\"in\"} 2\nb{topic=\"x\",dir=\"out\"} 3\nb{topic=\"y \\\"q\\\"\",dir=\"in\"} 4e1\nnonsense\n",
        );
        assert!((page.sum("a") - 1.0).abs() < 1e-9 && (page.sum("b") - 45.0).abs() < 1e-9);
        let by = page.by("b", "topic", Some(("dir", "in")));
        assert_eq!(by.keys().collect::<Vec<_>>(), ["x", "y \"q\""]);
        assert_eq!(page.label("b", "dir").as_deref(), Some("in"));
    }

    #[test]
    fn a_quantile_is_of_what_came_in_between() {
        let page = |counts: [u32; 3]| {
            let [a, b, c] = counts;
            Page::read(&format!(
                "h_bucket{{le=\"0.001\"}} {a}\nh_bucket{{le=\"0.5\"}} {b}\nh_bucket{{le=\"+Inf\"}} {c}\n"
            ))
        };
        let (before, now) = (page([10, 10, 10]), page([15, 109, 110]));
        assert_eq!(now.quantile("h", &before, 0.05), Some(0.001));
        assert_eq!(now.quantile("h", &before, 0.5), Some(0.5));
        assert_eq!(now.quantile("h", &before, 0.999), Some(f64::INFINITY));
        assert_eq!(before.quantile("h", &before, 0.5), None);
    }
}
