"""CLAIM 2024, 44 items: number, topic, what is asked (in our words), answer."""

from medimg.report import answers as a
from medimg.report.answers import both, unknown
from medimg.report.missing import AUTHORS, CLINIC, DATA_SOURCE

SOURCE = "Tejani et al., CLAIM: 2024 update, Radiology: Artificial Intelligence 6(4):e240300"

ITEMS = (
    ("1", "Title", "Names AI and its kind", a.title),
    ("2", "Abstract", "Structured summary", a.abstract),
    ("3", "Background", "Scientific and clinical background, intended role", unknown(CLINIC)),
    ("4", "Objectives", "Aims and hypotheses", a.title),
    ("5", "Study design", "Prospective or retrospective", a.retrospective),
    ("6", "Study goal", "Model creation, feasibility or other", a.title),
    ("7", "Data sources", "Where data come from", a.source),
    ("8", "Eligibility", "Inclusion and exclusion", a.excluded),
    ("9", "Preprocessing", "Steps before the model", a.preparation),
    ("10", "Subsets", "Selection of parts of the data", a.excluded),
    ("11", "De-identification", "Methods", unknown(DATA_SOURCE)),
    ("12", "Missing data", "Handling", a.unlabelled),
    ("13", "Acquisition", "Protocol and devices", unknown(DATA_SOURCE)),
    ("14", "Reference standard", "Definition", a.outcome),
    ("15", "Reference standard", "Rationale", unknown(DATA_SOURCE)),
    ("16", "Annotators", "Source, qualification, training", unknown(DATA_SOURCE)),
    ("17", "Annotation", "Procedure of the test set", unknown(DATA_SOURCE)),
    ("18", "Annotation", "Variability within and between raters", unknown(DATA_SOURCE)),
    ("19", "Partitions", "Assignment and proportions", both(a.parts, a.balance)),
    ("20", "Partitions", "Level of disjointness", a.separated),
    ("21", "Test set", "Intended size, and why", both(a.test_size, unknown(f"no calculation; {AUTHORS}"))),
    ("22", "Model", "Architecture, inputs, outputs", both(a.model, a.inputs)),
    ("23", "Software", "Libraries and versions", a.software),
    ("24", "Initialisation", "Of parameters, transfer learning", a.start),
    ("25", "Training", "Procedure, augmentation, hyperparameters", a.fitting),
    ("26", "Model selection", "How the final model was chosen", a.fitting),
    ("27", "Ensembling", "Members and vote", a.voters),
    ("28", "Metrics", "Of performance", a.measures),
    ("29", "Uncertainty", "Intervals and tests", a.measures),
    ("30", "Robustness", "Sensitivity analyses", a.robust),
    ("31", "Explainability", "Methods and their validation", a.explained),
    ("32", "Internal testing", "On data of the same source", a.result),
    ("33", "External testing", "On other data, or why not", a.elsewhere),
    ("34", "Trial registration", "Where it applies", unknown(AUTHORS)),
    ("35", "Flow", "Numbers included and excluded", both(a.parts, a.excluded)),
    ("36", "Characteristics", "Demographic and clinical, by part", a.characteristics),
    ("37", "Performance", "Against the reference standard, in parts and subgroups", both(a.result, a.groups)),
    ("38", "Accuracy", "Estimates with 95% intervals", both(a.accuracy, a.calibrated)),
    ("39", "Failures", "Analysis of wrong classifications", a.mistaken),
    ("40", "Limitations", "Bias, uncertainty, generalisability", a.limits),
    ("41", "Implications", "For practice; intended use", a.use),
    ("42", "Protocol", "Where full details are", unknown(AUTHORS)),
    ("43", "Availability", "Of software, model, data", a.shared),
    ("44", "Funding", "Sources and role", unknown(AUTHORS)),
)
