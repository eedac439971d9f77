//! The matrix products of a linear layer and the vector functions of the activation: the only
//! file of this crate that names the serving engine's kernels.
//!
//! Every product is computed on the threads of the caller's pool. An element of a product is
//! summed in one order whatever the number of threads, so that results do not depend on it.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdUnaryOp};
use rten_tensor::{Matrix, NdTensorView};
use rten_vecmath::{Erf, Exp};

/// Why a product cannot fail: its operands are cut to these shapes by the caller.
const SHAPES_FIT: &str = "the operands of a product have the shapes that it is told";

/// A row-major matrix.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
}

impl<'a> Rows<'a> {
    /// `data` holds `rows` times `columns` floats.
    pub(crate) fn new(data: &'a [f32], columns: usize) -> Self {
        debug_assert!(columns > 0 && data.len().is_multiple_of(columns));
        Self { data, rows: data.len() / columns.max(1), columns }
    }

    fn view(self) -> Matrix<'a, f32> {
        NdTensorView::from_data([self.rows, self.columns], self.data)
    }
}

/// Matrix products with the kernel that fits this machine.
#[derive(Default)]
pub(crate) struct Gemm(GemmExecutor<f32>);

impl Gemm {
    /// `out = x W^T + bias`: `x` is `[n, in]`, `weight` `[out, in]`, `bias` `[out]`.
    pub(crate) fn linear(&self, out: &mut [f32], x: Rows<'_>, weight: Rows<'_>, bias: &[f32]) {
        let weight = weight.view();
        let options = GemmOptions { bias: Some(BiasVector::Row(bias)), ..GemmOptions::default() };
        self.product(out, x.view(), weight.transposed(), options);
    }

    /// `out = beta out + dy W`: the gradient of [`Self::linear`] by its input. `dy` is
    /// `[n, out]`, `weight` `[out, in]`.
    pub(crate) fn input_gradient(&self, out: &mut [f32], dy: Rows<'_>, weight: Rows<'_>, beta: f32) {
        self.product(out, dy.view(), weight.view(), GemmOptions { beta, ..GemmOptions::default() });
    }

    /// `out = out + dy^T x`: the gradient of [`Self::linear`] by its weight, added to what is
    /// there. `dy` is `[n, out]`, `x` `[n, in]`.
    pub(crate) fn add_weight_gradient(&self, out: &mut [f32], dy: Rows<'_>, x: Rows<'_>) {
        let dy = dy.view();
        self.product(out, dy.transposed(), x.view(), GemmOptions { beta: 1.0, ..GemmOptions::default() });
    }

    fn product(
        &self,
        out: &mut [f32],
        a: Matrix<'_, f32>,
        b: Matrix<'_, f32>,
        options: GemmOptions<'_, f32, f32, f32>,
    ) {
        self.0.gemm(out, GemmInputA::Unpacked(a), GemmInputB::Unpacked(b), options).expect(SHAPES_FIT);
    }
}

/// `x = exp(x)`, elementwise.
pub(crate) fn exp(values: &mut [f32]) {
    Exp {}.map_mut(values);
}

/// `x = 1/2 (1 + erf(x / sqrt 2))`, elementwise: the normal distribution function, which GELU
/// multiplies its input by.
pub(crate) fn normal_cdf(values: &mut [f32]) {
    NormalCdf.map_mut(values);
}

/// `x = cdf(x) + x pdf(x)`, elementwise: the derivative of GELU (Hendrycks and Gimpel 2016).
pub(crate) fn gelu_slope(values: &mut [f32]) {
    GeluSlope.map_mut(values);
}

struct NormalCdf;

impl SimdUnaryOp<f32> for NormalCdf {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let erf = Erf::apply(isa, ops.mul(x, ops.splat(std::f32::consts::FRAC_1_SQRT_2)));
        ops.mul(ops.add(erf, ops.one()), ops.splat(0.5))
    }
}

/// 1 / sqrt(2 pi).
const PDF_AT_ZERO: f32 = 0.398_942_3;

struct GeluSlope;

impl SimdUnaryOp<f32> for GeluSlope {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let cdf = NormalCdf.eval(isa, x);
        let exponent = ops.mul(ops.mul(x, x), ops.splat(-0.5));
        let pdf = ops.mul(Exp::apply(isa, exponent), ops.splat(PDF_AT_ZERO));
        ops.mul_add(x, pdf, cdf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, floats};

    fn naive(rows: usize, columns: usize, inner: usize, term: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
        let element = |row, column| (0..inner).map(|k| f64::from(term(row, column, k))).sum::<f64>() as f32;
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| element(r, c)).collect()
    }

    #[test]
    fn products_are_those_of_a_linear_layer_and_its_gradients() {
        let gemm = Gemm::default();
        for (n, from, to) in [(5, 3, 4), (33, 17, 40), (1, 8, 2)] {
            let (x, w, b, dy) = (floats(n * from, 1), floats(to * from, 2), floats(to, 3), floats(n * to, 4));
            let mut y = vec![f32::NAN; n * to];
            gemm.linear(&mut y, Rows::new(&x, from), Rows::new(&w, from), &b);
            let mut expected = naive(n, to, from, |i, o, k| x[i * from + k] * w[o * from + k]);
            for row in expected.chunks_exact_mut(to) {
                row.iter_mut().zip(&b).for_each(|(y, b)| *y += b);
            }
            assert_close(&y, &expected, 1e-4);

            let mut dx = vec![1.0; n * from];
            gemm.input_gradient(&mut dx, Rows::new(&dy, to), Rows::new(&w, from), 1.0);
            let expected = naive(n, from, to, |i, c, k| dy[i * to + k] * w[k * from + c]);
            assert_close(&dx, &expected.iter().map(|x| x + 1.0).collect::<Vec<_>>(), 1e-4);

            let mut dw = vec![2.0; to * from];
            gemm.add_weight_gradient(&mut dw, Rows::new(&dy, to), Rows::new(&x, from));
            let expected = naive(to, from, n, |o, c, k| dy[k * to + o] * x[k * from + c]);
            assert_close(&dw, &expected.iter().map(|x| x + 2.0).collect::<Vec<_>>(), 1e-4);
        }
    }

    #[test]
    fn the_slope_of_gelu_is_its_slope() {
        let gelu = |x: f32| {
            let mut cdf = [x];
            normal_cdf(&mut cdf);
            f64::from(x) * f64::from(cdf[0])
        };
        for step in -60..=60 {
            let x = step as f32 * 0.1;
            let numeric = (gelu(x + 0.01) - gelu(x - 0.01)) / 0.02;
            let mut slope = [x];
            gelu_slope(&mut slope);
            assert!((f64::from(slope[0]) - numeric).abs() < 2e-4, "{x}: {} and {numeric}", slope[0]);
        }
        // Values of the normal distribution function from its tables.
        let mut cdf = [0.0, 1.0, -1.959_964];
        normal_cdf(&mut cdf);
        assert_close(&cdf, &[0.5, 0.841_344_7, 0.025], 1e-5);
    }
}
