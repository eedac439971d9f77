//! A head's row for a new label, from its examples and from queries that are known to bear
//! other labels. Pure.
//!
//! The row points from the middle of the known queries to the middle of the examples: the
//! examples' prototype. How long it is, and its bias, are what makes the examples most likely
//! against the labels that are there, each example judged by the prototype of the others.

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
    /// A logit that queries of the new label must beat as well, so that they do not pass for
    /// outsiders; `None` where that does not depend on logits.
    pub floor: Option<f32>,
}

/// The row of a new label.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub weights: Vec<f32>,
    pub bias: f32,
}

/// A row, and how it does.
pub struct Made {
    pub row: Row,
    /// For each example, the new label's logit when the example is left out of the prototype,
    /// and that of the best other label.
    pub left_out: Vec<(f32, f32)>,
    /// Share of the known queries in scope whose first label becomes the new one, 0 to 1.
    pub taken_over: f32,
}

/// Makes the row. `examples` are the vectors and logits of at least two queries of the new
/// label. `None` if they have no direction from the known queries, or there are none of those.
pub fn make(examples: &[(Vec<f32>, Vec<f32>)], setting: &Setting<'_>) -> Option<Made> {
    let vectors: Vec<&[f32]> = examples.iter().map(|(vector, _)| &vector[..]).collect();
    let inside: Vec<&[f32]> = setting.known.iter().filter(|k| k.in_scope).map(|k| k.vector).collect();
    let middle = mean(&inside)?;
    let direction = towards(&mean(&vectors)?, &middle)?;
    let offset = dot(&direction, &middle);
    let left_out_places: Vec<f32> = (0..vectors.len())
        .map(|left_out| {
            let others: Vec<&[f32]> =
                vectors.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, v)| *v).collect();
            let towards_others = towards(&mean(&others)?, &middle)?;
            Some(dot(&towards_others, vectors[left_out]) - dot(&towards_others, &middle))
        })
        .collect::<Option<_>>()?;
    let positives: Vec<Point> = left_out_places
        .iter()
        .zip(examples)
        .map(|(place, (_, logits))| Point { place: *place, rivals: rivals(logits, setting) })
        .collect();
    let negatives: Vec<Point> = setting
        .known
        .iter()
        .map(|known| Point { place: dot(&direction, known.vector) - offset, rivals: rivals(&known.logits, setting) })
        .collect();
    let (length, bias) = most_likely(&positives, &negatives, setting);
    let bias = bounded(length, bias, &negatives, setting.known);
    let logit = |place: f32| length * place + bias;
    let left_out = left_out_places.iter().zip(examples).map(|(p, (_, logits))| (logit(*p), highest(logits))).collect();
    let row = Row { weights: direction.iter().map(|x| length * x).collect(), bias: bias - length * offset };
    Some(Made { left_out, taken_over: taken_over(length, bias, &negatives, setting.known), row })
}

/// Where a query lies along the prototype, and the logarithm of the summed exponentials of
/// what the new label competes with, at the temperature.
struct Point {
    place: f32,
    rivals: f32,
}

fn rivals(logits: &[f32], setting: &Setting<'_>) -> f32 {
    let all = || logits.iter().copied().chain(setting.floor).map(|logit| logit / setting.temperature);
    let largest = all().fold(f32::NEG_INFINITY, f32::max);
    largest + all().map(|logit| (logit - largest).exp()).sum::<f32>().ln()
}

/// Length and bias of the row that minimise the mean loss: two nested searches, since the loss
/// is convex in both.
fn most_likely(positives: &[Point], negatives: &[Point], setting: &Setting<'_>) -> (f32, f32) {
    let longest = LONGEST_ROW * setting.row_length;
    let reach = positives.iter().chain(negatives).map(|p| p.place.abs()).fold(0.0, f32::max) * longest;
    let rivals = positives.iter().chain(negatives).map(|p| p.rivals.abs()).fold(0.0, f32::max);
    let widest = reach + rivals * setting.temperature + 20.0 * setting.temperature;
    let best_bias = |length: f32| minimum(|bias| loss(length, bias, positives, negatives, setting), -widest, widest);
    let length = minimum(|length| loss(length, best_bias(length), positives, negatives, setting), 0.0, longest);
    (length, best_bias(length))
}

fn loss(length: f32, bias: f32, positives: &[Point], negatives: &[Point], setting: &Setting<'_>) -> f32 {
    // How far the new label is ahead of its rivals.
    let ahead = |point: &Point| (length * point.place + bias) / setting.temperature - point.rivals;
    let missed: f32 = positives.iter().map(|point| softplus(-ahead(point))).sum();
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
        inside(negatives, known).map(|(point, known)| highest(&known.logits) - (length * point.place + bias)).collect();
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
        inside(negatives, known).filter(|(point, known)| length * point.place + bias > highest(&known.logits)).count();
    taken as f32 / all.max(1) as f32
}

fn inside<'a>(points: &'a [Point], known: &'a [Known<'a>]) -> impl Iterator<Item = (&'a Point, &'a Known<'a>)> {
    points.iter().zip(known).filter(|(_, known)| known.in_scope)
}

fn highest(logits: &[f32]) -> f32 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `None` without vectors.
fn mean(vectors: &[&[f32]]) -> Option<Vec<f32>> {
    let mut sum = vectors.first()?.iter().map(|_| 0.0f32).collect::<Vec<f32>>();
    for vector in vectors {
        for (total, x) in sum.iter_mut().zip(*vector) {
            *total += x;
        }
    }
    let share = 1.0 / vectors.len() as f32;
    Some(sum.into_iter().map(|total| total * share).collect())
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

    fn made(examples: &[(Vec<f32>, Vec<f32>)], others: &[(Vec<f32>, Vec<f32>)], floor: Option<f32>) -> Made {
        let known: Vec<Known<'_>> =
            others.iter().map(|(vector, logits)| Known { vector, logits: logits.clone(), in_scope: true }).collect();
        make(examples, &Setting { known: &known, temperature: 1.0, row_length: 10.0, floor }).unwrap()
    }

    fn logit(row: &Row, vector: &[f32]) -> f32 {
        dot(&row.weights, vector) + row.bias
    }

    #[test]
    fn a_label_apart_from_the_others_is_told_and_takes_nothing_over() {
        let others: Vec<_> = around(0, 40).into_iter().chain(around(1, 40)).collect();
        let made = made(&around(2, 5), &others, None);
        assert_eq!(made.taken_over, 0.0);
        assert!(made.left_out.iter().all(|(own, other)| own > other));
        let (vector, logits) = query([0.15, 0.1, 0.95]);
        assert!(logit(&made.row, &vector) > highest(&logits));
        for (vector, logits) in &others {
            assert!(logit(&made.row, vector) < highest(logits));
        }
    }

    #[test]
    fn a_floor_is_beaten_too() {
        let others: Vec<_> = around(0, 40).into_iter().chain(around(1, 40)).collect();
        let made = made(&around(2, 8), &others, Some(6.0));
        assert!(made.left_out.iter().all(|(own, _)| *own > 6.0), "{:?}", made.left_out);
    }

    #[test]
    fn a_label_that_is_there_already_takes_over_no_more_than_allowed() {
        let others: Vec<_> = around(0, 150).into_iter().chain(around(1, 150)).collect();
        let made = made(&around(0, 20), &others, None);
        assert!(made.taken_over <= LARGEST_TAKEOVER, "{}", made.taken_over);
    }

    #[test]
    fn examples_without_a_direction_make_no_row() {
        let others = around(0, 4);
        let known: Vec<Known<'_>> =
            others.iter().map(|(vector, logits)| Known { vector, logits: logits.clone(), in_scope: true }).collect();
        let setting = Setting { known: &known, temperature: 1.0, row_length: 10.0, floor: None };
        let middle = mean(&known.iter().map(|k| k.vector).collect::<Vec<_>>()).unwrap();
        let same = vec![(middle.clone(), vec![1.0, 1.0]), (middle, vec![1.0, 1.0])];
        assert!(make(&same, &setting).is_none());
        let nothing = Setting { known: &[], ..setting };
        assert!(make(&around(2, 3), &nothing).is_none());
    }
}
