"""What the video tags share: pictures of a video with their times, tracked objects, key frames, ranges of frames."""
