"""TRIPOD+AI, 27 items in 52 parts: number, topic, what is asked (in our words), answer."""

from medimg.report import answers as a
from medimg.report.answers import both, unknown

SOURCE = "Collins et al., TRIPOD+AI statement, BMJ 2024;385:e078378"
_AUTHORS = "the authors of the study must say"
_CLINIC = "clinical context, which no Run knows"
_SOURCE = "the source's documentation must say; a Dataset does not hold it"

ITEMS = (
    ("1", "Title", "Study type, population and outcome named", a.title),
    ("2", "Abstract", "Structured summary", a.abstract),
    ("3a", "Background", "Healthcare context, rationale, existing models", unknown(_CLINIC)),
    ("3b", "Background", "Target population, purpose in the care pathway, users", a.use),
    ("3c", "Background", "Known health inequalities", unknown(_CLINIC)),
    ("4", "Objectives", "Aims; development, evaluation or both", a.title),
    ("5a", "Data", "Sources for development and evaluation, and why", a.source),
    ("5b", "Data", "Dates of accrual and follow-up", unknown(_SOURCE)),
    ("6a", "Participants", "Setting; number and place of centres", a.sites),
    ("6b", "Participants", "Eligibility", a.excluded),
    ("6c", "Participants", "Treatments received", unknown(_SOURCE)),
    ("7", "Data preparation", "Pre-processing and quality checks", both(a.preparation, a.excluded)),
    ("8a", "Outcome", "Definition, horizon, how and when assessed", a.outcome),
    ("8b", "Outcome", "Assessors' qualifications", unknown(_SOURCE)),
    ("8c", "Outcome", "Blinding of assessment", unknown(_SOURCE)),
    ("9a", "Predictors", "Choice and pre-selection", a.inputs),
    ("9b", "Predictors", "Definition and measurement", a.inputs),
    ("9c", "Predictors", "Predictor assessors' qualifications", unknown(_SOURCE)),
    ("10", "Sample size", "How it was arrived at, and whether it suffices", unknown(f"no calculation; {_AUTHORS}")),
    ("11", "Missing data", "Handling and omissions", a.unlabelled),
    ("12a", "Analysis", "How data were used and partitioned", both(a.parts, a.separated)),
    ("12b", "Analysis", "Handling of predictors", a.preparation),
    ("12c", "Analysis", "Type of model, building steps, tuning, internal validation", both(a.model, a.fitting)),
    ("12d", "Analysis", "Heterogeneity between clusters", a.sites),
    ("12e", "Analysis", "Measures and plots of performance", a.measures),
    ("12f", "Analysis", "Model updating", a.updated),
    ("12g", "Analysis", "How predictions were calculated", a.specified),
    ("13", "Class imbalance", "Methods and recalibration", a.balance),
    ("14", "Fairness", "Approaches to fairness", a.groups),
    ("15", "Model output", "Output, classification, thresholds", a.decision),
    ("16", "Training versus evaluation", "Differences between both data", both(a.characteristics, a.elsewhere)),
    ("17", "Ethical approval", "Committee, consent or waiver", unknown(_AUTHORS)),
    ("18a", "Funding", "Sources and role", unknown(_AUTHORS)),
    ("18b", "Conflicts of interest", "Declarations", unknown(_AUTHORS)),
    ("18c", "Protocol", "Where it is", unknown(_AUTHORS)),
    ("18d", "Registration", "Register and number", unknown(_AUTHORS)),
    ("18e", "Data sharing", "Availability of data", a.source),
    ("18f", "Code sharing", "Availability of code", a.software),
    ("19", "Patient and public involvement", "Details, or none", unknown(_AUTHORS)),
    ("20a", "Participants", "Flow; numbers with and without the outcome", both(a.parts, a.prevalences)),
    ("20b", "Participants", "Characteristics", a.characteristics),
    ("20c", "Participants", "Comparison with development data", a.characteristics),
    ("21", "Model development", "Participants and events in each analysis", a.prevalences),
    ("22", "Model specification", "The full model, for predictions in new people", a.specified),
    (
        "23a",
        "Model performance",
        "Estimates with intervals, also of subgroups",
        both(a.result, a.accuracy, a.calibrated),
    ),
    ("23b", "Model performance", "Heterogeneity between clusters", a.sites),
    ("24", "Model updating", "Results of updating", a.updated),
    ("25", "Interpretation", "Overall, with fairness and earlier studies", unknown(_AUTHORS)),
    ("26", "Limitations", "Of sample, size, overfitting, missing data", a.limits),
    ("27a", "Usability", "Poor or unavailable input data", a.broken_inputs),
    ("27b", "Usability", "Users' interaction and expertise", unknown(_CLINIC)),
    ("27c", "Usability", "Next steps for research", a.elsewhere),
)
