"""STARD-AI, 40 items in 48 rows: number, topic, what is asked (in our words), answer."""

from medimg.report import answers as a
from medimg.report.answers import both, unknown

SOURCE = "Sounderajah et al., The STARD-AI reporting guideline, Nature Medicine 31, 2025, 3283-3289"
_AUTHORS = "the authors of the study must say"
_CLINIC = "clinical context, which no Run knows"
_SOURCE = "the source's documentation must say; a Dataset does not hold it"

ITEMS = (
    ("1", "Title", "AI-centred diagnostic accuracy, with a measure of it", a.abstract),
    ("2", "Abstract", "Structured summary", a.abstract),
    ("3", "Background", "Intended use of the index test, its place in the workflow", unknown(_CLINIC)),
    ("4", "Objectives", "Aims and hypotheses", a.title),
    ("5", "Study design", "Prospective or retrospective", a.retrospective),
    ("6", "Ethics", "Approval, or why not needed", unknown(_AUTHORS)),
    ("7", "Eligibility", "Of participants and of data", a.excluded),
    ("8", "Participants", "On what basis they were found", unknown(_SOURCE)),
    ("9", "Participants", "Where and when", a.sites),
    ("10", "Participants", "Consecutive, random or convenience", unknown(_SOURCE)),
    ("11", "Data source", "Routine, collected for the study, or open", a.source),
    ("12", "Annotation", "By whom and how", unknown(_SOURCE)),
    ("13", "Devices and software", "That captured data and made the index test", a.software),
    ("14", "Acquisition and preprocessing", "Protocols and steps", a.preparation),
    ("15a", "Index test", "In detail", both(a.model, a.inputs)),
    ("15b", "Index test", "Development: training, validation, test, sizes", both(a.parts, a.fitting)),
    ("15c", "Index test", "Cut-offs, pre-specified or exploratory", a.decision),
    ("15d", "Index test", "Users and their expertise", unknown(_CLINIC)),
    ("16a", "Reference standard", "In detail", a.outcome),
    ("16b", "Reference standard", "Rationale", unknown(_SOURCE)),
    ("16c", "Reference standard", "Cut-offs", unknown(_SOURCE)),
    ("17a", "Blinding", "Of the index test", a.blinded),
    ("17b", "Blinding", "Of the reference standard", unknown(_SOURCE)),
    ("18", "Statistics", "Methods for accuracy", a.measures),
    (
        "19",
        "Indeterminate results",
        "Handling",
        a.says(lambda report: "Every readable input gets an answer; none is left open."),
    ),
    ("20", "Missing data", "Handling", a.unlabelled),
    ("21", "Variability", "Analyses, pre-specified or exploratory", a.groups),
    ("22", "Sample size", "Intended, and how determined", both(a.test_size, unknown(f"no calculation; {_AUTHORS}"))),
    ("23", "Fairness", "Analysis of errors and bias", both(a.groups, a.mistaken)),
    ("24", "Flow", "Of participants, as a diagram", both(a.parts, a.excluded)),
    ("25", "Characteristics", "Of training, validation and test", a.characteristics),
    ("26a", "Severity", "In those with the condition", unknown(_SOURCE)),
    ("26b", "Alternative diagnoses", "In those without it", a.prevalences),
    ("27", "Interval", "Between index test and reference standard", unknown(_SOURCE)),
    ("28", "Representativeness", "Of the condition in the intended population", unknown(_CLINIC)),
    ("29", "External evaluation", "How its data differ", a.elsewhere),
    ("30", "Cross-tabulation", "Index test by reference standard", a.tabulated),
    ("31", "Accuracy", "Estimates and precision", both(a.result, a.accuracy)),
    ("32", "Adverse events", "Of index test or reference standard", unknown("the data hold none")),
    ("33", "Limitations", "Bias, uncertainty, generalisability", a.limits),
    ("34", "Applicability", "For practice; intended use", a.use),
    ("35", "Ethics and fairness", "Of using the index test", unknown(_AUTHORS)),
    ("36", "Registration", "Number and registry", unknown(_AUTHORS)),
    ("37", "Protocol", "Where it is", unknown(_AUTHORS)),
    ("38", "Funding", "Sources and role", unknown(_AUTHORS)),
    ("39", "Commercial interests", "If any", unknown(_AUTHORS)),
    ("40a", "Availability", "Of data and code", a.shared),
    ("40b", "Audit", "Whether outputs are stored and can be examined", a.stored),
)
