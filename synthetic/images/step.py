"""One step of the two networks, as a function of the weights, a batch and the step's number.

Where the images come from is the caller's: the central loop, or a site of a federation, which makes
`NetworkSteps` of its own, sets the weights that it is sent and sends back what they became.
"""

import tensorflow as tf

from medimg.training.adam import Adam
from synthetic.config import ImageSynthesisOptions
from synthetic.images.augmentation import augment, augment_apart
from synthetic.images.losses import fake_losses, generator_losses, real_losses, squared_slopes
from synthetic.images.networks import Gan, scores
from synthetic.images.noise import generator_inputs, seed_of
from synthetic.images.spectral import SpectralLimit

# The penalty needs slopes of slopes: taken at every 4th step with 4 times its weight (Karras et al. 2020).
PENALTY_EVERY = 4
BETAS = {"beta_1": 0.5, "beta_2": 0.99}


class NetworkSteps:
    """Trains the networks of a `Gan`.

    Args:
        gan: changed in place.
        options: of the training.
        seed: of the noise and the augmentation.
    """

    def __init__(self, gan: Gan, options: ImageSynthesisOptions, seed: int):
        self.gan, self.options, self.seed = gan, options, seed
        self.generator_optimizer = Adam(options.generator_learning_rate, **BETAS)
        self.discriminator_optimizer = Adam(options.discriminator_learning_rate, **BETAS)
        self.generator_optimizer.build(gan.generator.trainable_variables)
        self.discriminator_optimizer.build(gan.discriminator.trainable_variables)
        spectral = options.regularise == "spectral"
        self.limit = SpectralLimit(gan.discriminator) if spectral else tf.Module()

    def discriminator_step(self, pixels, condition, fake_condition, number: int) -> dict:
        """Teach the discriminator one batch.

        Args:
            pixels: real images (B, S, S, C), float32 in 0..255.
            condition: their classes (B, classes).
            fake_condition: classes of as many images to be made.
            number: of the step.

        Returns:
            Mean losses: `real_loss`, `fake_loss`.
        """
        penalised = self.options.regularise == "r1" and number % PENALTY_EVERY == 0
        seeds = seed_of(self.seed, "real", number), seed_of(self.seed, "discriminator", number)
        return self.teach(pixels, condition, fake_condition, seeds, penalised)

    def generator_step(self, fake_condition, number: int) -> dict:
        """Teach the generator on images of the given classes (B, classes); moves the average too.

        Returns:
            Mean loss: `generator_loss`.
        """
        # A tensor: a Python number would be traced anew each time.
        decay = tf.constant(min(self.options.ema_decay, (1 + number) / (10 + number)), tf.float32)
        return self.learn(fake_condition, seed_of(self.seed, "generator", number), decay)

    def trackables(self) -> dict:
        """What a checkpoint must hold."""
        return {
            "generator": self.gan.generator,
            "discriminator": self.gan.discriminator,
            "average": self.gan.average,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
            "limit": self.limit,
        }

    def augmented(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """As the discriminator is shown them."""
        return augment(pixels, seed) if self.options.gan_augment == "light" else pixels

    def augmented_apart(self, pixels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The same by each image's own key, uint64 (B,)."""
        return augment_apart(pixels, keys) if self.options.gan_augment == "light" else pixels

    def made(self, condition: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Images of the generator as the discriminator is shown them."""
        noise_seed, augment_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        inputs = generator_inputs(self.gan, condition, noise_seed)
        return self.augmented(self.gan.generator(inputs, training=True), augment_seed)

    @tf.function
    def teach(self, pixels, condition, fake_condition, seeds, penalised: bool) -> dict:
        """`discriminator_step` with its seeds (of the real images and the made ones) and whether R1 is due."""
        discriminator = self.gan.discriminator
        real = self.augmented(pixels, seeds[0])
        images = tf.concat([real, self.made(fake_condition, seeds[1])], axis=0)
        with tf.GradientTape() as tape:
            outputs = discriminator(images, training=True)
            count, smoothing = tf.shape(real)[0], self.options.label_smoothing
            real_loss = tf.reduce_mean(real_losses(scores(outputs[:count], condition), smoothing))
            fake_loss = tf.reduce_mean(fake_losses(scores(outputs[count:], fake_condition)))
            loss = real_loss + fake_loss
            if penalised:
                loss += PENALTY_EVERY * self.options.r1_weight * self._penalty(real, condition)
        self.apply_discriminator(tape.gradient(loss, discriminator.trainable_variables))
        return {"real_loss": real_loss, "fake_loss": fake_loss}

    def _penalty(self, real, condition) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as slopes:
            slopes.watch(real)
            logits = scores(self.gan.discriminator(real, training=True), condition)
        return tf.reduce_mean(squared_slopes(slopes.gradient(logits, real)))

    def apply_discriminator(self, gradients: list) -> None:
        """Move the discriminator along gradients; for use in tf.function."""
        variables = self.gan.discriminator.trainable_variables
        self.discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        if isinstance(self.limit, SpectralLimit):
            self.limit.apply()

    @tf.function
    def learn(self, condition, seed, decay: tf.Tensor) -> dict:
        """`generator_step` with its seed and the decay of the average."""
        generator = self.gan.generator
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(generator.trainable_variables)
            outputs = self.gan.discriminator(self.made(condition, seed), training=True)
            loss = tf.reduce_mean(generator_losses(scores(outputs, condition)))
        gradients = tape.gradient(loss, generator.trainable_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, generator.trainable_variables, strict=True))
        for mean, weight in zip(self.gan.average.variables, generator.variables, strict=True):
            mean.assign_sub((1.0 - decay) * (mean - weight))
        return {"generator_loss": loss}
