//! Inert log lines: control characters in any field, a handler's included, are escaped.

use std::fmt;

use text::inert;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formatter that makes the lines of another formatter inert.
pub(super) struct InertFormat<F> {
    pub(super) format: F,
    /// True if warnings and errors are coloured. The inner formatter must not use colours.
    pub(super) has_colours: bool,
}

impl<S, N, F> FormatEvent<S, N> for InertFormat<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = inert(line.strip_suffix('\n').unwrap_or(&line));
        match *event.metadata().level() {
            Level::ERROR if self.has_colours => writeln!(writer, "\x1b[31m{line}\x1b[0m"),
            Level::WARN if self.has_colours => writeln!(writer, "\x1b[33m{line}\x1b[0m"),
            _ => writeln!(writer, "{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Out {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    const HOSTILE: &str = "1\u{1b}[2J\nX-Fake: line\r\u{202e}\u{9b}\u{7f}\u{2028}\u{200b}\u{feff}";

    /// Logs hostile text in every part of a line that can hold text.
    fn log_hostile() {
        let error = anyhow::anyhow!(HOSTILE).context(HOSTILE);
        let span = tracing::info_span!("span", of = %HOSTILE);
        let _entered = span.enter();
        tracing::warn!(shown = %HOSTILE, debugged = ?HOSTILE, text = HOSTILE, error = ?error, "{HOSTILE}");
    }

    fn assert_inert(text: &str, lines: usize) {
        assert_eq!(text.matches('\n').count(), lines, "{text:?}");
        assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{text:?}");
        assert!(text.contains("X-Fake"));
    }

    #[test]
    fn no_field_of_a_pretty_line_steers_or_breaks_it() {
        let out = Out::default();
        let sink = out.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone());
        let lines = lines.map_event_format(|format| InertFormat { format, has_colours: false });
        tracing::subscriber::with_default(lines.finish(), log_hostile);
        assert_inert(&out.text(), 1);
    }

    #[test]
    fn no_field_of_a_json_line_does_and_it_says_the_same() {
        let out = Out::default();
        let sink = out.clone();
        let lines = tracing_subscriber::fmt().json().flatten_event(true);
        let lines = lines.with_writer(move || sink.clone());
        let lines = lines.map_event_format(|format| InertFormat { format, has_colours: false });
        tracing::subscriber::with_default(lines.finish(), log_hostile);
        assert_inert(&out.text(), 1);
        let line: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!(line["text"], HOSTILE);
    }

    #[test]
    fn colours_are_the_only_escapes() {
        let out = Out::default();
        let sink = out.clone();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone());
        let lines = lines.map_event_format(|format| InertFormat { format, has_colours: true });
        tracing::subscriber::with_default(lines.finish(), log_hostile);
        let text = out.text();
        let inner = text.strip_prefix("\x1b[33m").and_then(|text| text.strip_suffix("\x1b[0m\n"));
        assert!(!inner.unwrap().contains('\x1b'), "{text:?}");
    }
}
