//! Charts, drawn by the server.

use maud::{Markup, html};

/// A chart of counts over time as bars, with its text for those who do not see it.
pub fn sparkline(counts: &[u64], label: &str) -> Markup {
    const HEIGHT: u64 = 28;
    const STEP: usize = 3;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let width = counts.len() * STEP;
    html! {
        svg.spark role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (HEIGHT) } width=(width) height=(HEIGHT) preserveAspectRatio="none" {
            @for (index, count) in counts.iter().enumerate() {
                @let height = (count * HEIGHT).div_ceil(most);
                @if height > 0 {
                    rect x=(index * STEP) y=(HEIGHT - height) width=(STEP - 1) height=(height) {}
                }
            }
        }
    }
}

/// A bar of two shares, good and bad, with its text for those who do not see it.
pub fn share_bar(good: u64, bad: u64, label: &str) -> Markup {
    const WIDTH: u64 = 80;
    let all = good.saturating_add(bad);
    // A small share is seen too.
    let width = match (good, bad) {
        (0, _) => 0,
        (_, 0) => WIDTH,
        _ => (u128::from(good) * u128::from(WIDTH) / u128::from(all))
            .clamp(2, u128::from(WIDTH - 2)) as u64,
    };
    html! {
        svg.share role="img" aria-label=(label) viewBox={ "0 0 " (WIDTH) " 8" } width=(WIDTH) height="8" preserveAspectRatio="none" {
            @if all == 0 { rect.none x="0" y="3" width=(WIDTH) height="2" {} }
            @if width > 0 { rect.ok x="0" y="0" width=(width) height="8" {} }
            @if bad > 0 { rect.ko x=(width) y="0" width=(WIDTH - width) height="8" {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_count_is_the_full_height_and_the_smallest_is_seen() {
        let chart = sparkline(&[0, 1, 1000], "accepted").into_string();
        assert_eq!(chart.matches("<rect").count(), 2);
        assert!(chart.contains(r#"y="27" width="2" height="1""#), "{chart}");
        assert!(chart.contains(r#"y="0" width="2" height="28""#), "{chart}");
        assert!(!sparkline(&[0, 0], "none").into_string().contains("<rect"));
    }

    #[test]
    fn the_smallest_share_is_seen_and_nothing_is_drawn_as_nothing() {
        let bar = |good, bad| share_bar(good, bad, "x").into_string();
        assert!(bar(1_000_000, 1).contains(r#"class="ko" x="78" y="0" width="2""#));
        assert!(bar(1, 1_000_000).contains(r#"class="ok" x="0" y="0" width="2""#));
        assert!(!bar(0, 0).contains("class=\"ok\"") && bar(0, 0).contains("class=\"none\""));
    }
}
