"""Labeling configs that several tests use."""

# The labels have other names than the model's classes.
LABELS = {"qr_code": "Square code", "barcode": "Line code"}
COLORS = {"Square code": "#0055ff", "Line code": "#ff00aa"}


def codes_config(*, threshold: float = 0.4, labels: dict[str, str] = LABELS, colors: dict[str, str] = COLORS) -> str:
    """A labeling config that the bundled detector fills in: ``labels`` maps its classes to labels."""
    tags = "".join(
        f'<Label value="{label}" predicted_values="{name}" background="{colors[label]}"/>'
        for name, label in labels.items()
    )
    return (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="code" toName="image" model_path="demo-detect.pt" model_score_threshold="{threshold}">'
        f"{tags}</RectangleLabels></View>"
    )
