//! The small parts of pages: chips, facts, notes, and the fields of forms.

use maud::{Markup, html};

use crate::form::FormError;

/// The tone of a chip. The word tells the state; the colour only repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Needs attention.
    Bad,
    /// Waits, or may need attention.
    Warn,
    /// Neither.
    Plain,
}

impl Tone {
    /// The class of its style.
    pub const fn class(self) -> &'static str {
        match self {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Warn => "warn",
            Tone::Plain => "plain",
        }
    }
}

/// A badge with a word.
pub fn chip(tone: Tone, word: &str) -> Markup {
    html! { span class={ "chip " (tone.class()) } { (word) } }
}

/// The confirmation of an action.
pub fn note(text: &str) -> Markup {
    html! { p.note role="status" { (text) } }
}

/// The error of a form or a page.
pub fn alert(error: &str) -> Markup {
    html! { p.alert role="alert" id="error" tabindex="-1" { (error) } }
}

/// The errors of a form, each a link to its field. `here` is the address of the page, relative to its site's root. A
/// browser puts the focus on them.
pub fn errors(errors: &[FormError], here: &str) -> Markup {
    html! {
        @if !errors.is_empty() {
            div.alert role="alert" id="error" tabindex="-1" autofocus {
                @if let [error] = errors { p { (linked(error, here)) } }
                @else {
                    p { (errors.len()) " fields need your attention:" }
                    ul { @for error in errors { li { (linked(error, here)) } } }
                }
            }
        }
    }
}

fn linked(error: &FormError, here: &str) -> Markup {
    html! {
        @if error.field.is_empty() { (error.reason) }
        @else { a href={ (here) "#" (error.field) } { (error.reason) } }
    }
}

/// The switch of a live list, whose rows come from `address` as server-sent events. It needs the script.
pub fn live_switch(address: &str) -> Markup {
    html! {
        button type="button" hidden aria-pressed="false" data-live=(address) { "Live" }
        span.soft id="live-status" role="status" {}
    }
}

/// Facts, one a line.
pub fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! { dl { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } } }
}

/// Text in a fixed font with a button that copies it, which needs the script.
pub fn copyable(text: &str) -> Markup {
    html! { code.copyable { (text) } button.copy type="button" hidden data-copy=(text) { "Copy" } }
}

/// A form of one button.
pub fn button(action: &str, label: &str, about: &str) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            button type="submit" { (label) @if !about.is_empty() { span.unseen { " " (about) } } }
        }
    }
}

/// A field of a form that is not shown.
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A labelled field of a form.
pub fn field(name: &str, label: &str, hint: &str, input: Markup) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            (input)
            @if !hint.is_empty() { p.hint id={ (name) "-hint" } { (hint) } }
        }
    }
}

/// A field for one line of text.
pub fn text(name: &str, label: &str, hint: &str, value: &str) -> Markup {
    input("text", name, label, hint, value)
}

/// A field for one line of text, with suggestions.
pub fn suggested<'o>(
    name: &str,
    label: &str,
    hint: &str,
    value: &str,
    options: impl IntoIterator<Item = &'o str>,
) -> Markup {
    let described = (!hint.is_empty()).then(|| format!("{name}-hint"));
    let input = html! {
        input type="text" id=(name) name=(name) value=(value) list={ (name) "-list" } autocomplete="off" aria-describedby=[described];
        datalist id={ (name) "-list" } { @for option in options { option value=(option) {} } }
    };
    field(name, label, hint, input)
}

/// A field for a time in UTC.
pub fn moment(name: &str, label: &str, value: &str) -> Markup {
    input("datetime-local", name, label, "", value)
}

/// A field of this type of input.
pub fn input(kind: &str, name: &str, label: &str, hint: &str, value: &str) -> Markup {
    let described = (!hint.is_empty()).then(|| format!("{name}-hint"));
    let input = html! {
        input type=(kind) id=(name) name=(name) value=(value) autocomplete="off" aria-describedby=[described];
    };
    field(name, label, hint, input)
}

/// A check box.
pub fn check(name: &str, label: &str, is_on: bool) -> Markup {
    html! {
        div.check {
            input type="checkbox" id=(name) name=(name) value="on" checked[is_on];
            label for=(name) { (label) }
        }
    }
}

/// A choice between values, each with its text; `none` is the text of no choice.
pub fn choice(
    name: &str,
    label: &str,
    none: Option<&str>,
    options: &[(&str, &str)],
    value: &str,
) -> Markup {
    let input = html! {
        select id=(name) name=(name) {
            @if let Some(none) = none { option value="" { (none) } }
            @for (option, text) in options {
                option value=(option) selected[*option == value] { (text) }
            }
        }
    };
    field(name, label, "", input)
}

/// The filter form of a list: fields that are always seen, and more of them folded, unless one of those is used.
pub fn filters(home: &str, fields: Markup, more: Option<(bool, Markup)>) -> Markup {
    html! {
        form.filters method="get" action=(home) role="search" {
            div.fields { (fields) }
            @if let Some((is_open, more)) = more {
                details open[is_open] { summary { "More filters" } div.fields { (more) } }
            }
            p.bar { button type="submit" { "Apply" } a href=(home) { "Clear" } }
        }
    }
}
