//! Charts as inline SVG. Pure.

use std::fmt::Write;

/// Size of a chart, in the units of its view box.
const WIDTH: f32 = 380.0;
const HEIGHT: f32 = 240.0;
/// Room for the axes' words.
const LEFT: f32 = 44.0;
const RIGHT: f32 = 10.0;
const TOP: f32 = 12.0;
const BOTTOM: f32 = 34.0;

/// One axis.
#[derive(Clone, Copy)]
pub struct Axis<'a> {
    /// What it measures.
    pub name: &'a str,
    pub from: f32,
    pub to: f32,
    /// Whether its numbers are shares, and so written in percent.
    pub percent: bool,
}

/// How a line or bar looks, by the names of the style sheet.
#[derive(Clone, Copy)]
pub enum Look {
    First,
    Second,
    /// What would be best, for comparison.
    Ideal,
}

/// A chart that is being drawn.
pub struct Chart<'a> {
    x: Axis<'a>,
    y: Axis<'a>,
    body: String,
}

impl<'a> Chart<'a> {
    /// An empty chart with its axes.
    pub fn new(x: Axis<'a>, y: Axis<'a>) -> Self {
        let mut chart = Self { x, y, body: String::new() };
        chart.axes();
        chart
    }

    /// A line through points in the axes' units. Points that are no numbers are left out.
    pub fn line(&mut self, points: &[(f32, f32)], look: Look) {
        let places = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let mut path = String::new();
        for (index, (x, y)) in places.enumerate() {
            let step = if index == 0 { 'M' } else { 'L' };
            // Writing to a string does not fail.
            let _ = write!(path, "{step}{:.1} {:.1} ", self.place_x(*x), self.place_y(*y));
        }
        let _ = write!(self.body, "<path class=\"{}\" d=\"{}\"/>", look.class(), path.trim_end());
    }

    /// A bar from the bottom to `height`.
    pub fn bar(&mut self, from: f32, to: f32, height: f32, opacity: f32) {
        let (left, right) = (self.place_x(from) + 1.0, self.place_x(to) - 1.0);
        let (top, bottom) = (self.place_y(height), self.place_y(self.y.from));
        let (width, tall) = ((right - left).max(0.0), (bottom - top).max(0.0));
        let _ = write!(
            self.body,
            "<rect class=\"first\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\" \
             opacity=\"{opacity:.2}\"/>"
        );
    }

    /// A dot.
    pub fn dot(&mut self, x: f32, y: f32) {
        let (x, y) = (self.place_x(x), self.place_y(y));
        let _ = write!(self.body, "<circle class=\"second\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
    }

    /// The whole figure. `caption` is HTML.
    pub fn finish(self, caption: &str) -> String {
        format!(
            "<figure><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">{}</svg><figcaption>{caption}</figcaption>\
             </figure>\n",
            self.body
        )
    }

    fn axes(&mut self) {
        let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
        for step in 0..=4 {
            let share = step as f32 / 4.0;
            let (x, y) = (left + share * (right - left), bottom - share * (bottom - top));
            let (x_label, y_label) = (self.x.tick(share), self.y.tick(share));
            // There is less room beside the last number than half of it may take.
            let (label_x, anchor) = if step == 4 { (WIDTH, "end") } else { (x, "middle") };
            let _ = write!(
                self.body,
                "<path class=\"axis\" d=\"M{left:.1} {y:.1} L{right:.1} {y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{y_label}</text>\
                 <text x=\"{label_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{x_label}</text>",
                left - 6.0,
                y + 4.0,
                bottom + 15.0,
            );
        }
        let middle = f32::midpoint(left, right);
        let _ = write!(
            self.body,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"start\">{}</text>",
            HEIGHT - 4.0,
            self.x.name,
            top - 3.0,
            self.y.name,
        );
    }

    fn place_x(&self, x: f32) -> f32 {
        LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT)
    }

    fn place_y(&self, y: f32) -> f32 {
        HEIGHT - BOTTOM - self.y.share(y) * (HEIGHT - TOP - BOTTOM)
    }
}

impl Axis<'_> {
    /// A share of the way from one end to the other, 0 to 1.
    fn share(&self, value: f32) -> f32 {
        let span = self.to - self.from;
        if span > 0.0 { ((value - self.from) / span).clamp(0.0, 1.0) } else { 0.0 }
    }

    fn tick(&self, share: f32) -> String {
        let value = self.from + share * (self.to - self.from);
        let (value, unit) = if self.percent { (value * 100.0, " %") } else { (value, "") };
        let rounded = (value * 10.0).round() / 10.0;
        format!("{rounded}{unit}")
    }
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Ideal => "ideal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(name: &str) -> Axis<'_> {
        Axis { name, from: 0.0, to: 1.0, percent: true }
    }

    #[test]
    fn points_are_placed_within_the_axes() {
        let mut chart = Chart::new(share("confidence"), share("accuracy"));
        chart.line(&[(0.0, 0.0), (0.5, f32::NAN), (1.0, 9.0)], Look::First);
        chart.bar(0.0, 0.5, 1.0, 0.5);
        chart.dot(0.5, 0.5);
        let figure = chart.finish("a &amp; b");
        assert!(figure.contains("M44.0 206.0 L370.0 12.0"), "{figure}");
        assert!(figure.contains("a &amp; b") && figure.contains("100 %"));
        assert!(!figure.contains("NaN") && !figure.contains("inf"));
    }

    #[test]
    fn ticks_say_what_they_stand_for() {
        let rejected = Axis { name: "rejected", from: 0.0, to: 0.1, percent: true };
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|share| rejected.tick(share)), ["0 %", "2.5 %", "5 %", "10 %"]);
        let epoch = Axis { name: "epoch", from: 1.0, to: 4.0, percent: false };
        assert_eq!([0.0, 0.25, 1.0].map(|share| epoch.tick(share)), ["1", "1.8", "4"]);
    }

    #[test]
    fn an_axis_without_extent_does_not_divide_by_it() {
        let flat = Axis { name: "loss", from: 2.0, to: 2.0, percent: false };
        let mut chart = Chart::new(share("epoch"), flat);
        chart.line(&[(0.0, 2.0), (1.0, 2.0)], Look::Second);
        assert!(!chart.finish("").contains("NaN"));
    }
}
