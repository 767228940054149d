"""Where a measure turns from pass to care, and from care to fail: all of the verdict's numbers.

Every limit but those of privacy's tests is relative to what real rows score against other real rows, so that a small or
odd set does not fail for being small or odd. They are conventions, chosen so that held-out real patients in the place
of synthetic ones pass and planted faults fail (tests/synthetic/judge); nothing in statistics fixes them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A measure's limits.

    Attributes:
        care: the first value that is no longer a pass.
        fail: the first value that fails.
        falling: small values are the bad ones.
    """

    care: float
    fail: float
    falling: bool = False

    def grade(self, value: float) -> str:
        """pass, care or fail."""
        sign = -1 if self.falling else 1
        if sign * value > sign * self.fail:
            return "fail"
        return "care" if sign * value > sign * self.care else "pass"


# AUROC lost by training on synthetic rows. 0.05 is what papers on synthetic patients call useful, and about what one
# choice of test patients makes; 0.15 turns a good classifier into one that nobody would use.
GAP = Limit(0.05, 0.15)
# Below so many training or synthetic rows hypotheses tested on private rows are warned of whatever was measured (Perez
# et al. 2024); p below which a comparison counts as a difference.
FEW_PRIVATE_ROWS, SIGNIFICANT = 500, 0.05
# Mean score of column shapes less than real rows have: so many of the rows lie where no real ones are.
SHAPES = Limit(0.05, 0.15)
# Of the dependence between columns (`structure`). In 30 splits of the heart table's 455 rows, held-out patients kept
# 0.43 to 1.6 of it (5% below 0.55), shuffled columns -0.38 to 0.23.
STRUCTURE = Limit(0.5, 0.3, falling=True)
# More rows with a value unseen in train than held-out patients have.
NOVELTY = Limit(0.05, 0.5)
# Precision, density and coverage of images over those of real images: a quarter lost is seen, most lost is another set.
MANIFOLD = Limit(0.75, 0.3, falling=True)
# Mean distance of images' brightness, texture and shape beyond that of two halves of real images (Kolmogorov-Smirnov):
# a tenth of the images look otherwise, or nearly half.
APPEARANCE = Limit(0.1, 0.4)
# Mean difference within a class over that of real rows. A collapsed generator is near 0; half is far beyond sampling.
SPREAD = Limit(0.75, 0.5, falling=True)
# Share of repeated rows beyond that of real ones: of 50 rows, two repeat one by chance.
DUPLICATES = Limit(0.05, 0.2)
# Share of the real categories that occur. Rare ones are missed by any sample of this size.
CATEGORIES = Limit(0.9, 0.5, falling=True)
# A class that is missing fails when train has as many rows of it; of fewer there was little to learn.
CLASS_ROWS = 10

# Standard errors above the rate of held-out rows that chance is granted: 1 of 40 honest generators exceeds it.
ALLOWANCE = 2.0

# p of as many copies, were the synthetic rows held-out patients: unlikely is care, very unlikely fails.
COPIES = Limit(0.05, 0.01, falling=True)
# Whatever p, which needs many held-out patients to be small: copied images beyond what coincidence explains, of all
# synthetic ones. Any copied image is care.
COPIED_IMAGES = 0.01
# A near copy. Of a table: its columns of numbers differ by so many standard deviations (root mean square; robust ones,
# the interquartile range / 1.349), its categories not at all. Of 151 patients of Cleveland the nearest two are at 0.10,
# a row whose age, pressure, cholesterol and pulse are off by one is at 0.05 ...
NEAR_ROW = 0.08
# ... and of an image: standardised averages of 16 x 16 areas differ by so many standard deviations of an image (root
# mean square). Of PneumoniaMNIST's 2,854 films the nearest two are at 0.22; 10 grey levels of noise make 0.13.
NEAR_IMAGE = 0.2
# Judgements of honest rows in which one would be called near by the law of nearest distances alone.
NEAR_CHANCE = 0.05
# Near or equal rows beyond what real ones explain: any is care; so many, and of so large a share, fail.
NEAR_ROWS, NEAR_SHARE = 2, 0.01
# Tests of the tail that share ALARM_P: rows beyond all held-out ones, by distance and by ratio.
TAIL_TESTS = 2
# Where real rows are near copies of each other too: a row by so much more than any of these (of the logarithm of the
# ratio) is explained by none of them.
BEYOND_REAL = 1.5
# A leak must be beyond chance, at this p: one honest generator in a hundred is suspected by each test ...
ALARM_P = 0.01
# ... and the attacks of `membership` share that p, so as not to suspect one in fifty. With fewer permutations than
# this the least p, 1 / (n + 1), would be above their part: no leak could sound the alarm.
ATTACKS = 2
LEAST_RESAMPLES = int(ATTACKS / ALARM_P)
# ... and large: the AUC of membership, or the share closer to train, 0.5 = nothing. Below 0.6 an attacker who accuses
# somebody is right hardly more often than a coin; that is care. From there on it fails.
LEAK = 0.6
# Right guesses of a patient's column beyond those of held-out patients, of all that was left to guess, at least (lower
# bound of the 99% interval): anything above 0 is care, a tenth fails.
ATTRIBUTE = Limit(0.0, 0.1)
# Held-out patients below which the tests would miss even large leaks: silence is no evidence then.
HELD_OUT = 30
