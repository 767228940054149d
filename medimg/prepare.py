"""A source's files -> a Dataset's folder: scan, decode, settle duplicates and patients, split, write."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medimg import atomic
from medimg.config import PhantomConfig, PrepareConfig
from medimg.dataset import SEPARATOR, SPLITS, Dataset
from medimg.decoding import Decoded, decode_all, mask_name
from medimg.duplicates import (
    Settled,
    describe_duplicates,
    drop_duplicates,
    find_duplicates,
    join_duplicates,
    settle_patients,
)
from medimg.errors import InputError
from medimg.pipeline_workers import workers_or_cores
from medimg.sources import source_named
from medimg.sources.base import Scan, listed
from medimg.splits import missing_classes, parse_split, split_groups, units
