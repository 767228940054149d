"""DICOM files to pixels, volumes and pseudonyms."""
