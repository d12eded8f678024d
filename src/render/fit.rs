//! Columns that fit the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The number of blanks between columns.
pub(super) const GAP: u16 = 2;

/// What stands in place of what was cut.
const CUT: char = '…';

/// Widths of columns, as wide as their widest text, that fit a line of `width` characters: the widest columns give way,
/// and none becomes narrower than one that is cut.
pub(super) fn widths(natural: &[usize], width: usize) -> Vec<usize> {
    let room = width.saturating_sub(usize::from(GAP) * natural.len().saturating_sub(1));
    let mut widest = natural.iter().copied().max().unwrap_or_default();
    let fits = |most: usize| natural.iter().map(|wanted| (*wanted).min(most)).sum::<usize>() <= room;
    while widest > 1 && !fits(widest) {
        widest -= 1;
    }
    let mut fitted: Vec<usize> = natural.iter().map(|wanted| (*wanted).min(widest)).collect();
    // What is left is less than one character for each column that was cut.
    let mut left = room.saturating_sub(fitted.iter().sum());
    for (fitted, wanted) in fitted.iter_mut().zip(natural).rev() {
        if left > 0 && *fitted < *wanted {
            *fitted += 1;
            left -= 1;
        }
    }
    fitted
}

/// The width of text on a terminal, which is that of its longest line.
pub(super) fn width_of(text: &str) -> usize {
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or_default()
}

/// The text on one line, cut to a width.
pub(super) fn cut(text: &str, width: usize) -> String {
    let line = text.replace('\n', " ");
    if line.width() <= width {
        return line;
    }
    let (mut short, mut used) = (String::new(), 0);
    for character in line.chars() {
        used += character.width().unwrap_or_default();
        // A place is left for the sign that something was cut.
        if used >= width {
            break;
        }
        short.push(character);
    }
    short.push(CUT);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_give_way() {
        assert_eq!(widths(&[4, 10, 6], 80), [4, 10, 6]);
        assert_eq!(widths(&[4, 60, 6], 40), [4, 26, 6]);
        assert_eq!(widths(&[6, 5, 18, 8, 5, 20, 40], 80), [6, 5, 14, 8, 5, 15, 15]);
        assert_eq!(widths(&[9, 9], 3), [1, 1]);
        assert_eq!(widths(&[], 80), [0; 0]);
    }

    #[test]
    fn what_is_cut_says_so_and_is_no_wider() {
        assert_eq!(cut("new_issue_separate", 10), "new_issue…");
        assert_eq!(cut("new_crash", 9), "new_crash");
        assert_eq!(cut("日本語のタイトル", 7), "日本語…");
        assert_eq!(cut("one\ntwo", 20), "one two");
        for width in 1..12 {
            assert!(width_of(&cut("a日b本c語d", width)) <= width, "{width}");
        }
    }
}
