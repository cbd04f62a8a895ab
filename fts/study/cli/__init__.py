"""The commands that only the PatchTST study has."""
