"""What a part of an evaluation is: settings, lines of the summary, figures, failures."""
