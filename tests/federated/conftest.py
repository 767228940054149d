"""What trainings of small federations are spared."""

from functools import partial

import pytest


@pytest.fixture(scope="module")
def few_resamples():
    """For tests that look at no interval: a thousand resamples of each take longer than a small federation trains."""
    from federated import conclusion

    gain, config = conclusion.site_gain, conclusion.EvaluateConfig
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(conclusion, "EvaluateConfig", partial(config, bootstrap=50))
        patched.setattr(conclusion, "site_gain", lambda *given, **named: gain(*given, **{**named, "resamples": 50}))
        yield


@pytest.fixture(scope="module")
def sparing(few_resamples):
    """For tests that look at no interval, no figure and no page."""
    from federated import federate, federation
    from federated.flower import own_metrics
    from medimg.evaluation import gallery

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(own_metrics, "RESAMPLES", 50)
        patched.setattr(federation, "write_report", lambda _: None)
        patched.setattr(federate, "write", lambda _: None)
        patched.setattr(gallery, "write_figures", lambda *_: {})
        yield
