//! AdamW (Loshchilov and Hutter, arXiv:1711.05101) with a bound on the gradient's norm.
//!
//! Written out here because its two running means have to be saved and restored with a checkpoint.

use tch::{Kind, Tensor};

const BETA_MEAN: f64 = 0.9;
const BETA_SQUARE: f64 = 0.98;
const EPSILON: f64 = 1e-8;
/// Decay per step and unit of learning rate; on matrices only.
const WEIGHT_DECAY: f64 = 0.01;
/// Longer gradients, over all parameters, are scaled down to this.
const GRADIENT_NORM_MAX: f64 = 1.0;

/// The optimizer's state: one pair of running means per parameter.
#[derive(Debug)]
pub(crate) struct AdamW {
    pub(crate) means: Vec<Tensor>,
    pub(crate) squares: Vec<Tensor>,
    pub(crate) steps: i64,
}

impl AdamW {
    pub(crate) fn new(parameters: &[Tensor]) -> Self {
        let zeros = || {
            parameters
                .iter()
                .map(|parameter| parameter.zeros_like().set_requires_grad(false))
        };
        Self {
            means: zeros().collect(),
            squares: zeros().collect(),
            steps: 0,
        }
    }

    /// Moves every parameter along its gradient.
    pub(crate) fn step(&mut self, parameters: &mut [Tensor], gradients: &[Tensor], rate: f64) {
        let _no_grad = tch::no_grad_guard();
        self.steps += 1;
        let scale = gradient_scale(gradients);
        let mean_bias = 1.0 - BETA_MEAN.powf(self.steps as f64);
        let square_bias = 1.0 - BETA_SQUARE.powf(self.steps as f64);
        let states = self.means.iter_mut().zip(&mut self.squares);
        for ((parameter, gradient), (mean, square)) in parameters.iter_mut().zip(gradients).zip(states) {
            let gradient = gradient * &scale;
            let _ = mean.lerp_(&gradient, 1.0 - BETA_MEAN);
            let _ = square.lerp_(&gradient.square(), 1.0 - BETA_SQUARE);
            let spread = (&*square / square_bias).sqrt() + EPSILON;
            if parameter.dim() > 1 {
                let _ = parameter.g_mul_scalar_(1.0 - rate * WEIGHT_DECAY);
            }
            let _ = parameter.g_sub_(&(&*mean / spread * (rate / mean_bias)));
        }
    }
}

fn gradient_scale(gradients: &[Tensor]) -> Tensor {
    let squares: Vec<Tensor> = gradients
        .iter()
        .map(|gradient| gradient.square().sum(Kind::Float))
        .collect();
    let norm = Tensor::stack(&squares, 0).sum(Kind::Float).sqrt();
    (GRADIENT_NORM_MAX / (norm + 1e-6)).clamp_max(1.0)
}
