//! A head's row for a new label, from its examples and from queries that are known to bear
//! other labels. Pure.
//!
//! The row starts as the mixture of the rows that the head now gives the examples to, since
//! that is what already tells them from everything else. To it comes the examples' prototype:
//! the direction to their middle from the middle of the known queries which those rows are
//! right for. How much of it comes in, and the bias, are what makes the examples most likely
//! against the labels that are there, each example judged by what the others give.

use crate::intent::softmax;
use crate::intent::vectors::dot;

/// The most of the known queries that a new label may take over, 0 to 1.
const LARGEST_TAKEOVER: f32 = 0.01;
/// The longest that a row may be, as a multiple of the head's mean row. Examples that lie apart
/// from everything known would otherwise ask for a row without bound.
const LONGEST_ROW: f32 = 1.5;
/// Steps of a search that keeps 0.618 of its interval in each: less than 1e-8 of it is left.
const SEARCH_STEPS: usize = 40;

/// A query that is known not to bear the new label.
pub struct Known<'a> {
    /// Its vector, as the head reads it.
    pub vector: &'a [f32],
    /// Its logits, one for each label that is there.
    pub logits: Vec<f32>,
    /// Whether it is one of the model's own; the others are outside its scope.
    pub in_scope: bool,
}

/// What the row is made against.
pub struct Setting<'a> {
    pub known: &'a [Known<'a>],
    pub temperature: f32,
    /// The mean length of the head's rows.
    pub row_length: f32,
    /// How many of the known queries bear one label, on average: the examples together weigh as
    /// much, lest the new label be thought rarer than the others.
    pub for_each_label: f32,
}

/// The row of a new label.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// How much of each row that is there goes into the new one; sums to 1.
    pub mixture: Vec<f32>,
    /// What is added to the mixture's weights.
    pub weights: Vec<f32>,
    /// What is added to the mixture's bias.
    pub bias: f32,
}

/// A row, and how it does.
pub struct Made {
    pub row: Row,
    /// For each example, the new label's logit when the example is left out of the making, and
    /// that of the best other label.
    pub left_out: Vec<(f32, f32)>,
    /// Share of the known queries in scope whose first label becomes the new one, 0 to 1.
    pub taken_over: f32,
}

/// A query's vector and its logits.
pub type Query = (Vec<f32>, Vec<f32>);

/// Makes the row from at least two queries of the new label. `None` if they have no direction
/// from the known queries, or there are none of those.
pub fn make(examples: &[Query], setting: &Setting<'_>) -> Option<Made> {
    let all: Vec<&Query> = examples.iter().collect();
    let prototype = Prototype::new(&all, setting)?;
    let positives: Vec<Point> = (0..examples.len())
        .map(|left_out| {
            let others: Vec<&Query> =
                examples.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, query)| query).collect();
            let (vector, logits) = &examples[left_out];
            Some(Prototype::new(&others, setting)?.point(vector, logits, setting))
        })
        .collect::<Option<_>>()?;
    let negatives: Vec<Point> =
        setting.known.iter().map(|known| prototype.point(known.vector, &known.logits, setting)).collect();
    let (length, bias) = most_likely(&positives, &negatives, setting);
    let bias = bounded(length, bias, &negatives, setting.known);
    let left_out = positives.iter().zip(examples);
    let left_out = left_out.map(|(point, (_, logits))| (point.logit(length, bias), highest(logits))).collect();
    let taken_over = taken_over(length, bias, &negatives, setting.known);
    Some(Made { left_out, taken_over, row: prototype.row(length, bias) })
}

/// Where the examples of a label lie.
struct Prototype {
    mixture: Vec<f32>,
    /// Of length 1.
    direction: Vec<f32>,
    /// Where the middle of the known queries lies along it.
    offset: f32,
}

impl Prototype {
    fn new(examples: &[&Query], setting: &Setting<'_>) -> Option<Self> {
        let given: Vec<Vec<f32>> =
            examples.iter().map(|(_, logits)| probabilities(logits, setting.temperature)).collect();
        let mixture = mean(given.iter().map(|shares| (&shares[..], 1.0)))?;
        let inside = setting.known.iter().filter(|known| known.in_scope);
        let middle = mean(inside.map(|known| {
            let resembles = dot(&mixture, &probabilities(&known.logits, setting.temperature));
            (known.vector, resembles)
        }))?;
        let place = mean(examples.iter().map(|(vector, _)| (&vector[..], 1.0)))?;
        let direction = towards(&place, &middle)?;
        Some(Self { offset: dot(&direction, &middle), mixture, direction })
    }

    fn point(&self, vector: &[f32], logits: &[f32], setting: &Setting<'_>) -> Point {
        Point {
            mixed: dot(&self.mixture, logits),
            place: dot(&self.direction, vector) - self.offset,
            rivals: rivals(logits, setting),
        }
    }

    fn row(self, length: f32, bias: f32) -> Row {
        let weights = self.direction.iter().map(|x| length * x).collect();
        Row { mixture: self.mixture, weights, bias: bias - length * self.offset }
    }
}

/// What a query has to do with a prototype.
struct Point {
    /// Its logit by the mixture of the rows that are there.
    mixed: f32,
    /// Where it lies along the prototype's direction.
    place: f32,
    /// The logarithm of the summed exponentials of what the new label competes with, at the
    /// temperature.
    rivals: f32,
}

impl Point {
    /// The new label's logit.
    fn logit(&self, length: f32, bias: f32) -> f32 {
        self.mixed + length * self.place + bias
    }
}

fn probabilities(logits: &[f32], temperature: f32) -> Vec<f32> {
    softmax(&logits.iter().map(|logit| logit / temperature).collect::<Vec<f32>>())
}

fn rivals(logits: &[f32], setting: &Setting<'_>) -> f32 {
    let scaled: Vec<f32> = logits.iter().map(|logit| logit / setting.temperature).collect();
    let largest = highest(&scaled);
    largest + scaled.iter().map(|logit| (logit - largest).exp()).sum::<f32>().ln()
}

/// Length and bias of the row that minimise the mean loss: two nested searches, since the loss
/// is convex in both.
fn most_likely(positives: &[Point], negatives: &[Point], setting: &Setting<'_>) -> (f32, f32) {
    let longest = LONGEST_ROW * setting.row_length;
    let reach = positives.iter().chain(negatives).map(|p| p.place.abs()).fold(0.0, f32::max) * longest;
    let rivals = positives.iter().chain(negatives).map(|p| p.rivals.abs()).fold(0.0, f32::max);
    let mixed = positives.iter().chain(negatives).map(|p| p.mixed.abs()).fold(0.0, f32::max);
    let widest = reach + mixed + (rivals + 20.0) * setting.temperature;
    let best_bias = |length: f32| minimum(|bias| loss(length, bias, positives, negatives, setting), -widest, widest);
    let length = minimum(|length| loss(length, best_bias(length), positives, negatives, setting), 0.0, longest);
    (length, best_bias(length))
}

fn loss(length: f32, bias: f32, positives: &[Point], negatives: &[Point], setting: &Setting<'_>) -> f32 {
    // How far the new label is ahead of its rivals.
    let ahead = |point: &Point| point.logit(length, bias) / setting.temperature - point.rivals;
    let weight = (setting.for_each_label / positives.len() as f32).max(1.0);
    let missed = weight * positives.iter().map(|point| softplus(-ahead(point))).sum::<f32>();
    let taken: f32 = negatives.iter().map(|point| softplus(ahead(point))).sum();
    missed + taken
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn minimum(of: impl Fn(f32) -> f32, mut low: f32, mut high: f32) -> f32 {
    let ratio = (5.0f32.sqrt() - 1.0) / 2.0;
    for _ in 0..SEARCH_STEPS {
        let width = high - low;
        if of(high - ratio * width) < of(low + ratio * width) {
            high = low + ratio * width;
        } else {
            low = high - ratio * width;
        }
    }
    f32::midpoint(low, high)
}

/// The bias, lowered as far as it takes to leave the known queries to their labels.
fn bounded(length: f32, bias: f32, negatives: &[Point], known: &[Known<'_>]) -> f32 {
    let mut room: Vec<f32> =
        inside(negatives, known).map(|(point, known)| highest(&known.logits) - point.logit(length, bias)).collect();
    room.sort_by(f32::total_cmp);
    let allowed = (LARGEST_TAKEOVER * room.len() as f32) as usize;
    // The first query that may not be taken over decides; a little more, so that it stays ahead.
    match room.get(allowed) {
        Some(tightest) if *tightest < 0.0 => bias + tightest - 1e-4 * (1.0 + tightest.abs()),
        _ => bias,
    }
}

fn taken_over(length: f32, bias: f32, negatives: &[Point], known: &[Known<'_>]) -> f32 {
    let all = inside(negatives, known).count();
    let taken =
        inside(negatives, known).filter(|(point, known)| point.logit(length, bias) > highest(&known.logits)).count();
    taken as f32 / all.max(1) as f32
}

fn inside<'a>(points: &'a [Point], known: &'a [Known<'a>]) -> impl Iterator<Item = (&'a Point, &'a Known<'a>)> {
    points.iter().zip(known).filter(|(_, known)| known.in_scope)
}

fn highest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The mean of vectors by their weights; `None` if those sum to nothing.
fn mean<'a>(weighted: impl Iterator<Item = (&'a [f32], f32)>) -> Option<Vec<f32>> {
    let mut sum: Vec<f32> = Vec::new();
    let mut whole = 0.0;
    for (vector, weight) in weighted {
        sum.resize(vector.len(), 0.0);
        whole += weight;
        for (total, x) in sum.iter_mut().zip(vector) {
            *total += weight * x;
        }
    }
    (whole > 0.0).then(|| sum.into_iter().map(|total| total / whole).collect())
}

/// The direction from `middle` to `place`, of length 1; `None` if they are the same.
fn towards(place: &[f32], middle: &[f32]) -> Option<Vec<f32>> {
    let difference: Vec<f32> = place.iter().zip(middle).map(|(a, b)| a - b).collect();
    let length = dot(&difference, &difference).sqrt();
    (length.is_finite() && length > 1e-6).then(|| difference.iter().map(|x| x / length).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two labels along two axes with logits ten times the place; the new one has a third.
    fn query(place: [f32; 3]) -> (Vec<f32>, Vec<f32>) {
        (place.to_vec(), vec![10.0 * place[0], 10.0 * place[1]])
    }

    fn around(axis: usize, count: usize) -> Vec<(Vec<f32>, Vec<f32>)> {
        (0..count)
            .map(|i| {
                let mut place = [0.1, 0.1, 0.1];
                place[axis] = 1.0;
                place[(axis + 1) % 3] += (i as f32 * 0.7).sin() * 0.1;
                query(place)
            })
            .collect()
    }

    fn made(examples: &[Query], others: &[Query]) -> Made {
        let known: Vec<Known<'_>> =
            others.iter().map(|(vector, logits)| Known { vector, logits: logits.clone(), in_scope: true }).collect();
        make(examples, &Setting { known: &known, temperature: 1.0, row_length: 10.0, for_each_label: 40.0 }).unwrap()
    }

    fn logit(row: &Row, vector: &[f32], logits: &[f32]) -> f32 {
        dot(&row.mixture, logits) + dot(&row.weights, vector) + row.bias
    }

    #[test]
    fn a_label_apart_from_the_others_is_told_and_takes_nothing_over() {
        let others: Vec<_> = around(0, 40).into_iter().chain(around(1, 40)).collect();
        let made = made(&around(2, 5), &others);
        assert_eq!(made.taken_over, 0.0);
        assert!(made.left_out.iter().all(|(own, other)| own > other));
        let (vector, logits) = query([0.15, 0.1, 0.95]);
        assert!(logit(&made.row, &vector, &logits) > highest(&logits));
        for (vector, logits) in &others {
            assert!(logit(&made.row, vector, logits) < highest(logits));
        }
    }

    #[test]
    fn a_label_that_is_there_already_takes_over_no_more_than_allowed() {
        let others: Vec<_> = around(0, 150).into_iter().chain(around(1, 150)).collect();
        let made = made(&around(0, 20), &others);
        assert!(made.taken_over <= LARGEST_TAKEOVER, "{}", made.taken_over);
    }

    #[test]
    fn examples_without_a_direction_make_no_row() {
        let others: Vec<_> = around(0, 4).into_iter().map(|(vector, _)| (vector, vec![1.0, 1.0])).collect();
        let known: Vec<Known<'_>> =
            others.iter().map(|(vector, logits)| Known { vector, logits: logits.clone(), in_scope: true }).collect();
        let setting = Setting { known: &known, temperature: 1.0, row_length: 10.0, for_each_label: 40.0 };
        // Both rows are equally right for these, so that the middle is that of all.
        let middle = mean(known.iter().map(|k| (k.vector, 1.0))).unwrap();
        let same = vec![(middle.clone(), vec![1.0, 1.0]), (middle, vec![1.0, 1.0])];
        assert!(make(&same, &setting).is_none());
        let nothing = Setting { known: &[], ..setting };
        assert!(make(&around(2, 3), &nothing).is_none());
    }
}
