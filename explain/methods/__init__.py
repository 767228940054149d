"""Methods of explanation: what of an input a model's answer rests on."""
