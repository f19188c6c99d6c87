//! The same operations with gradients: what each keeps, and the way back.

use burn::backend::Autodiff;
use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use certiseg_conv::Activation;

use super::plain::{
    apply, channel_sums, hidden, kernel_gradient, max_min_backward, minus_twice, sum, through_relu,
};
use super::{Convolution, Layers};

impl<C: CheckpointStrategy> Layers for Autodiff<Flex, C> {
    fn layer_convolution(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by: Convolution,
    ) -> FloatTensor<Self> {
        // each is read by the gradient of the other
        let kept = Kept {
            x: kernel.is_tracked().then(|| x.primitive().clone()),
            kernel: x.is_tracked().then(|| kernel.primitive().clone()),
            by,
        };
        let [(x, at_x), (kernel, at_kernel), (bias, at_bias)] =
            [x, kernel, bias].map(FloatTensor::<Self>::into_parts);
        let step = ConvolutionStep.prepare::<C>([at_x, at_kernel, at_bias]);
        let y = Flex::layer_convolution(x, kernel, bias, by);
        match step.compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(kept, y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn layer_residual(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        by: Convolution,
    ) -> FloatTensor<Self> {
        let [(x, at_x), (kernel, at_kernel), (bias, at_bias)] =
            [x, kernel, bias].map(FloatTensor::<Self>::into_parts);
        let step = ResidualStep.prepare::<C>([at_x, at_kernel, at_bias]);
        let h = hidden(&by, x.clone(), kernel.clone(), bias);
        let y = minus_twice(&by, x.clone(), kernel.clone(), h.clone());
        match step.compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((x, kernel, h, by), y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn layer_max_min(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, at_x) = x.into_parts();
        let step = MaxMinStep.prepare::<C>([at_x]);
        let y = Flex::layer_max_min(x.clone());
        match step.compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(x, y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn layer_add_channels(x: FloatTensor<Self>, values: FloatTensor<Self>) -> FloatTensor<Self> {
        let [(x, at_x), (values, at_values)] = [x, values].map(FloatTensor::<Self>::into_parts);
        let step = AddChannelsStep.prepare::<C>([at_x, at_values]);
        let y = Flex::layer_add_channels(x, values);
        step.compute_bound().stateless(y)
    }

    fn layer_channel_means(x: FloatTensor<Self>) -> FloatTensor<Self> {
        FloatTensor::<Self>::new(Flex::layer_channel_means(x.into_primitive()))
    }
}

/// What a convolution keeps.
#[derive(Clone, Debug)]
struct Kept {
    /// Where the kernel has a gradient.
    x: Option<FlexTensor>,
    /// Where x has one.
    kernel: Option<FlexTensor>,
    by: Convolution,
}

#[derive(Debug)]
struct ConvolutionStep;

impl Backward<Flex, 3> for ConvolutionStep {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [at_x, at_kernel, at_bias] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node);
        let Kept { x, kernel, by } = ops.state;
        if let Some(bias) = at_bias {
            grads.register::<Flex>(bias.id, channel_sums(gradient.clone(), by.scale));
        }
        if let (Some(at), Some(x)) = (at_kernel, x) {
            grads.register::<Flex>(at.id, kernel_gradient(&by, x, gradient.clone()));
        }
        if let (Some(at), Some(kernel)) = (at_x, kernel) {
            let x = apply(&by.reversed(), gradient, kernel, None, Activation::None);
            grads.register::<Flex>(at.id, x);
        }
    }
}

#[derive(Debug)]
struct ResidualStep;

impl Backward<Flex, 3> for ResidualStep {
    /// x, the kernel, relu(K ∗ x + bias).
    type State = (FlexTensor, FlexTensor, FlexTensor, Convolution);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [at_x, at_kernel, at_bias] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node);
        let (x, kernel, hidden, by) = ops.state;
        let inside = through_relu(&by, kernel.clone(), gradient.clone(), hidden.clone());
        if let Some(at) = at_bias {
            grads.register::<Flex>(at.id, channel_sums(inside.clone(), 1.0));
        }
        if let Some(at) = at_kernel {
            // K is applied twice: to x, and transposed to the hidden map
            let first = kernel_gradient(&by, x, inside.clone());
            let back = Convolution {
                scale: -2.0,
                ..by.reversed()
            };
            let second = kernel_gradient(&back, hidden, gradient.clone());
            grads.register::<Flex>(at.id, sum(first, second));
        }
        if let Some(at) = at_x {
            let through = apply(&by.reversed(), inside, kernel, None, Activation::None);
            grads.register::<Flex>(at.id, sum(through, gradient));
        }
    }
}

#[derive(Debug)]
struct MaxMinStep;

impl Backward<Flex, 1> for MaxMinStep {
    /// x.
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [at_x] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node);
        if let Some(at) = at_x {
            grads.register::<Flex>(at.id, max_min_backward(ops.state, gradient));
        }
    }
}

#[derive(Debug)]
struct AddChannelsStep;

impl Backward<Flex, 2> for AddChannelsStep {
    type State = ();

    fn backward(self, ops: Ops<(), 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [at_x, at_values] = ops.parents;
        let gradient = grads.consume::<Flex>(&ops.node);
        if let Some(at) = at_values {
            grads.register::<Flex>(at.id, channel_sums(gradient.clone(), 1.0));
        }
        if let Some(at) = at_x {
            grads.register::<Flex>(at.id, gradient);
        }
    }
}
