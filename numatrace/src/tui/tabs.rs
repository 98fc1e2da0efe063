//! The names of the views in the header: what is written, and which of them is where. Pure.

use super::keymap::{Keymap, key_name};
use super::state::{Key, Tab};
use crate::text;

/// How a view is named in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which view.
    pub tab: Tab,
    /// Its key, a digit unless the user has another one, and a blank.
    pub digit: String,
    /// Its name, in brackets where it is shown; a blank follows. Empty where there is no room.
    pub name: String,
}

impl Label {
    /// Columns that it takes, with the blank behind it.
    fn width(&self) -> usize {
        text::width(&self.digit) + text::width(&self.name) + usize::from(!self.name.is_empty())
    }
}

/// The names, from left to right. Where not all fit, the digits of the others do.
pub fn labels(width: u16, shown: Tab, keymap: &Keymap) -> Vec<Label> {
    let key = |digit| keymap.first(Key::Char(digit)).map_or_else(String::new, key_name);
    let names: usize = ('1'..).zip(Tab::ALL).map(|(digit, tab)| text::width(&key(digit)) + tab.name().len() + 4).sum();
    let narrow = names > usize::from(width) + 1;
    let name = |tab: Tab| match (tab == shown, narrow) {
        (true, _) => format!("[{}]", tab.name()),
        (false, true) => String::new(),
        (false, false) => format!(" {} ", tab.name()),
    };
    let label = |(digit, tab)| Label { tab, digit: format!("{} ", key(digit)), name: name(tab) };
    ('1'..).zip(Tab::ALL).map(label).collect()
}

/// The view whose name is in this column of the header's last line.
pub fn at(width: u16, shown: Tab, keymap: &Keymap, column: u16) -> Option<Tab> {
    let mut end = 0;
    let mut labels = labels(width, shown, keymap).into_iter();
    labels.find_map(|label| {
        end += label.width();
        (usize::from(column) < end).then_some(label.tab)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_where_it_is_written() {
        let keymap = Keymap::default();
        for (width, shown) in [40, 60, 80, 200].into_iter().flat_map(|width| Tab::ALL.map(|tab| (width, tab))) {
            let mut column = 0;
            for label in labels(width, shown, &keymap) {
                let end = column + label.width() as u16;
                assert!(
                    (column..end).all(|column| at(width, shown, &keymap, column) == Some(label.tab)),
                    "{width} {label:?}"
                );
                column = end;
            }
            assert_eq!(at(width, shown, &keymap, column), None);
        }
    }
}
